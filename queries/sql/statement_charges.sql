-- question: What is one team charged for a month, as used in it and as billed in it?
-- grain: currency, line, provider, service
-- params: start, end, team
-- `effective_cost` is of use within the month, `billed_cost` of what its billing periods bill, corrections of earlier
-- months among it. AI estate; estimates included.
SELECT billing_currency,
       CASE WHEN charge_class = 'Correction' THEN 'correction'
            WHEN charge_category IN ('Tax', 'Credit', 'Adjustment') THEN lower(charge_category)
            WHEN bucket = 'shared' OR allocated_method_id LIKE 'shared%' THEN 'shared'
            WHEN bucket = 'allocated' THEN 'held'
            ELSE 'owned' END AS line,
       provider, service_name,
       sum(CASE WHEN billing_period_start = $start THEN billed_cost END) AS billed_cost,
       sum(CASE WHEN day >= CAST($start AS DATE) AND day < CAST($end AS DATE) THEN effective_cost END) AS effective_cost,
       sum(CASE WHEN day >= CAST($start AS DATE) AND day < CAST($end AS DATE) THEN productive_cost END) AS productive_cost,
       sum(CASE WHEN day >= CAST($start AS DATE) AND day < CAST($end AS DATE) THEN idle_cost END) AS idle_cost,
       sum(CASE WHEN day >= CAST($start AS DATE) AND day < CAST($end AS DATE) THEN held_gpu_seconds END) AS held_gpu_seconds,
       string_agg(DISTINCT allocated_method_id, ', ' ORDER BY allocated_method_id) AS allocated_method_id,
       bool_or(is_estimated) AS has_estimate
FROM spend_day
WHERE team = $team AND in_scope
  AND ((day >= CAST($start AS DATE) AND day < CAST($end AS DATE)) OR billing_period_start = $start)
GROUP BY ALL
ORDER BY billing_currency, effective_cost DESC NULLS LAST, line, provider, service_name
