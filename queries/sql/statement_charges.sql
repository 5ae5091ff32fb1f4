-- question: What is one team charged for each month of a stretch, as used in it and as billed in it?
-- grain: month, currency, line, provider, service, charge category
-- params: start, end, team
-- time: days
-- `effective_cost` is of use within the month, `billed_cost` of what its billing periods bill, corrections of earlier
-- months among it. AI estate; estimates included.
WITH mine AS (
    SELECT *, CASE WHEN charge_class = 'Correction' THEN 'correction'
                   WHEN charge_category IN ('Tax', 'Credit', 'Adjustment') THEN lower(charge_category)
                   WHEN allocated_method_id IN ('owner', 'shared_direct') THEN 'owned'
                   WHEN bucket = 'shared' OR allocated_method_id LIKE 'shared%' THEN 'shared'
                   WHEN bucket = 'allocated' THEN 'held'
                   ELSE 'owned' END AS line
    FROM spend_day
    WHERE team = $team AND in_scope
      AND ((day >= CAST($start AS DATE) AND day < CAST($end AS DATE))
           OR (billing_period_start >= $start AND billing_period_start < $end))
), parts AS (
    SELECT CAST(date_trunc('month', day) AS DATE) AS for_month, billing_currency, line, provider, service_name,
           charge_category, NULL::DECIMAL(38, 18) AS billed_cost, effective_cost, productive_cost, idle_cost,
           held_gpu_seconds, allocated_method_id, is_estimated
    FROM mine
    WHERE day >= CAST($start AS DATE) AND day < CAST($end AS DATE)
    UNION ALL
    SELECT CAST(date_trunc('month', billing_period_start) AS DATE), billing_currency, line, provider, service_name,
           charge_category, billed_cost, NULL, NULL, NULL, NULL, allocated_method_id, is_estimated
    FROM mine
    WHERE billing_period_start >= $start AND billing_period_start < $end
)
SELECT for_month, billing_currency, line, provider, service_name, charge_category, sum(billed_cost) AS billed_cost,
       sum(effective_cost) AS effective_cost, sum(productive_cost) AS productive_cost, sum(idle_cost) AS idle_cost,
       sum(held_gpu_seconds) AS held_gpu_seconds,
       string_agg(DISTINCT allocated_method_id, ', ' ORDER BY allocated_method_id) AS allocated_method_id,
       bool_or(is_estimated) AS has_estimate
FROM parts
GROUP BY ALL
ORDER BY for_month, billing_currency, effective_cost DESC NULLS LAST, line, provider, service_name, charge_category
