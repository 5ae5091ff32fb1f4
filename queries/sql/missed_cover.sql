-- question: How much of what commitments left unused stood beside usage on demand of the same provider, on which day?
-- grain: day, provider, currency
-- params: start, end
-- time: days
-- Whole UTC days of which at least half lies in the stretch. Of each day the smaller of the two counts: unused commitment,
-- and servers of the AI estate at standard prices.
SELECT day, provider, billing_currency, least(sum(unused_cost), sum(on_demand_cost)) AS missed_cost
FROM commitment_day
WHERE in_scope AND day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
GROUP BY ALL
HAVING sum(unused_cost) > 0 AND sum(on_demand_cost) > 0
ORDER BY day, missed_cost DESC, provider
