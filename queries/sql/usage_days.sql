-- question: What did usage of the AI estate cost, day by day, without what is booked whole?
-- grain: day, currency
-- params: start, end, cluster ('' for all), team ('' for all)
-- time: hours
-- with: spent
-- Effective cost, estimates included: what forecasts are made of. Taxes, credits, fees and adjustments are no usage.
SELECT day, billing_currency, sum(effective_cost) AS cost, bool_or(is_estimated) AS has_estimate
FROM spent
WHERE in_scope AND charge_category = 'Usage' AND ($cluster = '' OR cluster = $cluster) AND ($team = '' OR team = $team)
GROUP BY ALL
ORDER BY day, billing_currency
