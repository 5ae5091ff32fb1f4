-- question: What does each model cost, day by day?
-- grain: day, model, currency
-- params: start, end, team ('' for all; else what its own jobs held)
-- Whole UTC days of which at least half lies in the stretch.
SELECT day, model AS name, billing_currency, sum(effective_cost) AS cost, sum(productive_cost) AS productive_cost,
       bool_or(is_estimated) AS has_estimate
FROM (
    SELECT day, model, billing_currency, effective_cost, productive_cost, is_estimated
    FROM model_cost_day
    WHERE $team = '' AND day >= CAST($start + INTERVAL 12 HOUR AS DATE)
      AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
    UNION ALL
    SELECT CAST(hour_start AS DATE), model, billing_currency, effective_cost,
           CASE WHEN state = 'productive' THEN effective_cost END, is_estimated
    FROM allocation_hour
    WHERE $team <> '' AND team = $team AND bucket = 'allocated'
      AND CAST(hour_start AS DATE) >= CAST($start + INTERVAL 12 HOUR AS DATE)
      AND CAST(hour_start AS DATE) < CAST($end + INTERVAL 12 HOUR AS DATE)
    UNION ALL
    SELECT day, model, billing_currency, effective_cost, CASE WHEN token_count IS NOT NULL THEN effective_cost END, false
    FROM managed_model_day
    WHERE ($team = '' OR team = $team) AND in_scope
      AND day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
)
GROUP BY ALL
ORDER BY day, cost DESC NULLS LAST
