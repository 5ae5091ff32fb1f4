-- question: What does each model cost, allocated against productive, and for how many tokens?
-- grain: model, currency
-- params: start, end, cluster ('' for all), team ('' for all; else what it is charged for)
-- Whole UTC days of which at least half lies in the stretch; the AI estate. Each unit of a cost is in one row of
-- `spend_day`, so it counts for one model: with `modelless_costs` it is what the Cost page says of the same days.
-- What is billed by the token was all used. Of a managed model's day that is not whole here (a charge of it lies on a
-- node, whose job has the cost, or a rule gave parts of it to others) nobody knows which part was: no part is productive.
-- Tokens are a server's, whoever's job it is: for one team only those of managed models are told,
-- for one cluster none.
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
), parts AS (
    SELECT model, provider, billing_currency, effective_cost,
           CASE WHEN is_held THEN productive_cost WHEN effective_cost = named_cost THEN token_cost END AS productive_cost,
           idle_cost, CASE WHEN is_held THEN held_gpu_seconds END AS gpu_seconds,
           NULL::DECIMAL(38, 18) AS prompt_token_count, NULL::DECIMAL(38, 18) AS generated_token_count,
           NULL::BIGINT AS trained_token_count, NULL::BIGINT AS trained_sample_count,
           NULL::DECIMAL(38, 18) AS serving_cost, NULL::DECIMAL(38, 18) AS serving_productive_cost,
           NULL::DECIMAL(38, 18) AS prompt_cost, NULL::DECIMAL(38, 18) AS generated_cost,
           NULL::DECIMAL(38, 18) AS training_cost, NULL::DECIMAL(38, 18) AS sampled_cost, is_estimated
    FROM spent LEFT JOIN managed USING (day, model, provider, billing_currency)
    UNION ALL
    SELECT model, provider, billing_currency, NULL, NULL, NULL, NULL, prompt_token_count, generated_token_count, NULL,
           NULL, token_cost, token_cost, prompt_cost, generated_cost, NULL, NULL, false
    FROM managed
    UNION ALL
    SELECT model, '', billing_currency, NULL, NULL, NULL,
           CASE WHEN billing_currency = '' THEN gpu_allocated_seconds END, prompt_token_count, generated_token_count,
           trained_token_count, trained_sample_count, serving_cost, serving_productive_cost, prompt_cost,
           generated_cost, training_cost, sampled_cost, false
    FROM model_cost_day
    WHERE $cluster = '' AND $team = '' AND day >= CAST($start + INTERVAL 12 HOUR AS DATE)
      AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
)
SELECT model, string_agg(DISTINCT nullif(provider, ''), ', ' ORDER BY nullif(provider, '')) AS provider, billing_currency,
       sum(effective_cost) AS effective_cost, sum(productive_cost) AS productive_cost, sum(idle_cost) AS idle_cost,
       coalesce(sum(gpu_seconds), 0) / 3600 AS gpu_hours,
       CAST(sum(prompt_token_count) AS BIGINT) AS prompt_token_count,
       CAST(sum(generated_token_count) AS BIGINT) AS generated_token_count,
       sum(trained_token_count) AS trained_token_count, sum(trained_sample_count) AS trained_sample_count,
       sum(serving_cost) AS serving_cost, sum(serving_productive_cost) AS serving_productive_cost,
       sum(prompt_cost) AS prompt_cost, sum(generated_cost) AS generated_cost, sum(training_cost) AS training_cost,
       sum(sampled_cost) AS sampled_cost, bool_or(is_estimated) AS has_estimate
FROM parts
GROUP BY ALL
ORDER BY effective_cost DESC NULLS LAST, model
