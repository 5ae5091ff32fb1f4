-- question: What does each model cost, allocated against productive, and for how many tokens?
-- grain: model, currency
-- params: start, end, team ('' for all; else the models of its jobs)
SELECT model, billing_currency, sum(effective_cost) AS effective_cost, sum(productive_cost) AS productive_cost,
       sum(idle_cost) AS idle_cost, sum(gpu_allocated_seconds) / 3600 AS gpu_hours, sum(run_count) AS run_days_count,
       sum(prompt_token_count) AS prompt_token_count, sum(generated_token_count) AS generated_token_count,
       bool_or(is_estimated) AS has_estimate
FROM model_cost_day
WHERE day >= CAST($start AS DATE) AND day < CAST($end AS DATE)
  AND ($team = '' OR model IN (SELECT model FROM job_usage WHERE team = $team))
GROUP BY ALL
ORDER BY effective_cost DESC NULLS LAST, model
