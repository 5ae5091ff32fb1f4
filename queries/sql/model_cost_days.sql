-- question: What does each model cost day by day, allocated against productive, and for how many tokens?
-- grain: day, model, provider, currency
-- params: start, end, cluster ('' for all), team ('' for all; else what it is charged for)
-- time: days
-- with: modelled
-- `model_costs` before its days are summed: for who converts each day by its own rate.
SELECT day, model, provider, billing_currency, sum(COLUMNS('_cost$')), coalesce(sum(gpu_seconds), 0) / 3600 AS gpu_hours,
       CAST(sum(prompt_token_count) AS BIGINT) AS prompt_token_count,
       CAST(sum(generated_token_count) AS BIGINT) AS generated_token_count,
       sum(trained_token_count) AS trained_token_count, sum(trained_sample_count) AS trained_sample_count,
       bool_or(is_estimated) AS has_estimate
FROM modelled
GROUP BY ALL
ORDER BY day, effective_cost DESC NULLS LAST, model, provider
