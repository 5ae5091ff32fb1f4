-- question: What does the estate cost that is no model's: idle, shared, or not allocable?
-- grain: day, currency, bucket
-- params: start, end, cluster ('' for all), team ('' for all; else what it is charged for)
-- time: days
-- Whole UTC days of which at least half lies in the stretch; the AI estate. With `model_costs` it is all of these days.
SELECT day, billing_currency, bucket, sum(effective_cost) AS effective_cost, bool_or(is_estimated) AS has_estimate
FROM spend_day
WHERE in_scope AND model = '' AND ($cluster = '' OR cluster = $cluster) AND ($team = '' OR team = $team)
  AND day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
GROUP BY ALL
ORDER BY day, billing_currency, effective_cost DESC NULLS LAST, bucket
