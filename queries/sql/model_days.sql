-- question: What does each model cost, day by day?
-- grain: day, model, currency
-- params: start, end, cluster ('' for all), team ('' for all; else what it is charged for)
-- time: days
-- Whole UTC days of which at least half lies in the stretch; the AI estate, as in `model_costs`.
SELECT day, model AS name, billing_currency, sum(effective_cost) AS cost, bool_or(is_estimated) AS has_estimate
FROM spend_day
WHERE in_scope AND model <> '' AND ($cluster = '' OR cluster = $cluster) AND ($team = '' OR team = $team)
  AND day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
GROUP BY ALL
ORDER BY day, cost DESC NULLS LAST, name
