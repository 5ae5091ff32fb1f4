-- question: What does each model cost, allocated against productive, and for how many tokens?
-- grain: model, currency
-- params: start, end, team ('' for all; else what its own jobs held)
-- Whole UTC days of which at least half lies in the stretch. Tokens are a server's, whoever's job it is: for one team they are null.
-- Models that managed services bill are among them, with the team that owns them: what is billed by the token was all used.
WITH parts AS (
    SELECT model, '' AS provider, billing_currency, effective_cost, productive_cost, idle_cost, gpu_allocated_seconds,
           run_count, prompt_token_count, generated_token_count, trained_token_count, trained_sample_count,
           serving_cost, serving_productive_cost, prompt_cost, generated_cost, training_cost, sampled_cost, is_estimated
    FROM model_cost_day
    WHERE $team = '' AND day >= CAST($start + INTERVAL 12 HOUR AS DATE)
      AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
    UNION ALL
    SELECT model, '', billing_currency, sum(effective_cost),
           sum(CASE WHEN state = 'productive' OR effective_cost IS NULL THEN effective_cost ELSE 0::DECIMAL(38, 18) END),
           sum(CASE WHEN state IN ('allocated_idle', 'held_idle') OR effective_cost IS NULL
                    THEN effective_cost ELSE 0::DECIMAL(38, 18) END),
           sum(held_gpu_seconds), count(DISTINCT (cluster, job_id, submitted_at, restart_count)),
           NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, bool_or(is_estimated)
    FROM allocation_hour
    WHERE $team <> '' AND team = $team AND bucket = 'allocated'
      AND CAST(hour_start AS DATE) >= CAST($start + INTERVAL 12 HOUR AS DATE)
      AND CAST(hour_start AS DATE) < CAST($end + INTERVAL 12 HOUR AS DATE)
    GROUP BY CAST(hour_start AS DATE), model, billing_currency
    UNION ALL
    SELECT model, provider, billing_currency, effective_cost,
           CASE WHEN token_count IS NOT NULL THEN effective_cost END,
           CASE WHEN token_count IS NOT NULL THEN 0::DECIMAL(38, 18) END, 0, 0,
           CASE WHEN token_direction = 'Input' THEN token_count END,
           CASE WHEN token_direction = 'Output' THEN token_count END, NULL, NULL,
           CASE WHEN token_count IS NOT NULL THEN effective_cost END,
           CASE WHEN token_count IS NOT NULL THEN effective_cost END,
           CASE WHEN token_direction = 'Input' AND token_count IS NOT NULL THEN effective_cost END,
           CASE WHEN token_direction = 'Output' AND token_count IS NOT NULL THEN effective_cost END, NULL, NULL, false
    FROM managed_model_day
    WHERE ($team = '' OR team = $team) AND in_scope
      AND day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
)
SELECT model, string_agg(DISTINCT nullif(provider, ''), ', ' ORDER BY nullif(provider, '')) AS provider, billing_currency,
       sum(effective_cost) AS effective_cost, sum(productive_cost) AS productive_cost, sum(idle_cost) AS idle_cost,
       sum(gpu_allocated_seconds) / 3600 AS gpu_hours, sum(run_count) AS run_days_count,
       CAST(sum(prompt_token_count) AS BIGINT) AS prompt_token_count,
       CAST(sum(generated_token_count) AS BIGINT) AS generated_token_count,
       sum(trained_token_count) AS trained_token_count, sum(trained_sample_count) AS trained_sample_count,
       sum(serving_cost) AS serving_cost, sum(serving_productive_cost) AS serving_productive_cost,
       sum(prompt_cost) AS prompt_cost, sum(generated_cost) AS generated_cost, sum(training_cost) AS training_cost,
       sum(sampled_cost) AS sampled_cost, bool_or(is_estimated) AS has_estimate
FROM parts
GROUP BY ALL
ORDER BY effective_cost DESC NULLS LAST, model
