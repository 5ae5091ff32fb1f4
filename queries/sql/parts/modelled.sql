-- What models cost, day by day: what jobs held, what a managed service bills, and for how many tokens.
WITH spent AS (
    SELECT day, model, CASE WHEN bucket = 'allocated' THEN '' ELSE provider END AS provider, billing_currency,
           bucket = 'allocated' AS is_held, sum(effective_cost) AS effective_cost,
           sum(productive_cost) AS productive_cost, sum(idle_cost) AS idle_cost,
           sum(held_gpu_seconds) AS held_gpu_seconds, bool_or(is_estimated) AS is_estimated
    FROM spend_day
    WHERE in_scope AND model <> '' AND ($cluster = '' OR cluster = $cluster) AND ($team = '' OR team = $team)
      AND day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
    GROUP BY ALL
), managed AS (
    SELECT day, model, provider, billing_currency, sum(effective_cost) AS named_cost,
           sum(effective_cost) FILTER (WHERE token_count IS NOT NULL) AS token_cost,
           sum(effective_cost) FILTER (WHERE token_count IS NOT NULL AND token_direction = 'Input') AS prompt_cost,
           sum(effective_cost) FILTER (WHERE token_count IS NOT NULL AND token_direction = 'Output') AS generated_cost,
           sum(token_count) FILTER (WHERE token_direction = 'Input') AS prompt_token_count,
           sum(token_count) FILTER (WHERE token_direction = 'Output') AS generated_token_count
    FROM managed_model_day
    WHERE in_scope AND $cluster = '' AND ($team = '' OR team = $team)
      AND day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
    GROUP BY ALL
)
SELECT day, model, provider, billing_currency, effective_cost,
       CASE WHEN is_held THEN productive_cost WHEN effective_cost = named_cost THEN token_cost END AS productive_cost,
       idle_cost, CASE WHEN is_held THEN held_gpu_seconds END AS gpu_seconds,
       NULL::DECIMAL(38, 18) AS prompt_token_count, NULL::DECIMAL(38, 18) AS generated_token_count,
       NULL::BIGINT AS trained_token_count, NULL::BIGINT AS trained_sample_count,
       NULL::DECIMAL(38, 18) AS serving_cost, NULL::DECIMAL(38, 18) AS serving_productive_cost,
       NULL::DECIMAL(38, 18) AS prompt_cost, NULL::DECIMAL(38, 18) AS generated_cost,
       NULL::DECIMAL(38, 18) AS training_cost, NULL::DECIMAL(38, 18) AS sampled_cost, is_estimated
FROM spent LEFT JOIN managed USING (day, model, provider, billing_currency)
UNION ALL
SELECT day, model, provider, billing_currency, NULL, NULL, NULL, NULL, prompt_token_count, generated_token_count, NULL,
       NULL, token_cost, token_cost, prompt_cost, generated_cost, NULL, NULL, false
FROM managed
UNION ALL
SELECT day, model, '', billing_currency, NULL, NULL, NULL,
       CASE WHEN billing_currency = '' THEN gpu_allocated_seconds END, prompt_token_count, generated_token_count,
       trained_token_count, trained_sample_count, serving_cost, serving_productive_cost, prompt_cost,
       generated_cost, training_cost, sampled_cost, false
FROM model_cost_day
WHERE $cluster = '' AND $team = '' AND day >= CAST($start + INTERVAL 12 HOUR AS DATE)
  AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
