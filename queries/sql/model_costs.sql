-- question: What does each model cost, allocated against productive, and for how many tokens?
-- grain: model, currency
-- params: start, end, cluster ('' for all), team ('' for all; else what it is charged for)
-- time: days
-- with: modelled
-- Whole UTC days of which at least half lies in the stretch; the AI estate. Each unit of a cost is in one row of
-- `spend_day`, so it counts for one model: with `modelless_costs` it is what the Cost page says of the same days.
-- What is billed by the token was all used. Of a managed model's day that is not whole here (a charge of it lies on a
-- node, whose job has the cost, or a rule gave parts of it to others) nobody knows which part was: no part is productive.
-- Tokens are a server's, whoever's job it is: for one team only those of managed models are told,
-- for one cluster none.
SELECT model, string_agg(DISTINCT nullif(provider, ''), ', ' ORDER BY nullif(provider, '')) AS provider, billing_currency,
       sum(COLUMNS('_cost$')), coalesce(sum(gpu_seconds), 0) / 3600 AS gpu_hours,
       CAST(sum(prompt_token_count) AS BIGINT) AS prompt_token_count,
       CAST(sum(generated_token_count) AS BIGINT) AS generated_token_count,
       sum(trained_token_count) AS trained_token_count, sum(trained_sample_count) AS trained_sample_count,
       bool_or(is_estimated) AS has_estimate
FROM modelled
GROUP BY ALL
ORDER BY effective_cost DESC NULLS LAST, model
