-- question: How much of what commitments left unused stood beside usage on demand of the same provider?
-- grain: provider, currency
-- params: start, end
-- time: days
-- Whole UTC days of which at least half lies in the stretch. Of each day the smaller of the two counts: unused commitment,
-- and servers of the AI estate at standard prices.
WITH days AS (
    SELECT provider, billing_currency, day, sum(unused_cost) AS unused_cost, sum(on_demand_cost) AS on_demand_cost
    FROM commitment_day
    WHERE in_scope AND day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
    GROUP BY ALL
    HAVING sum(unused_cost) > 0 AND sum(on_demand_cost) > 0
)
SELECT provider, billing_currency, count(*) AS day_count, sum(least(unused_cost, on_demand_cost)) AS missed_cost
FROM days
GROUP BY ALL
ORDER BY missed_cost DESC, provider
