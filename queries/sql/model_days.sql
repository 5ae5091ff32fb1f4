-- question: What does each model cost, day by day?
-- grain: day, model, currency
-- params: start, end, team ('' for all; else the models of its jobs)
SELECT day, model AS name, billing_currency, sum(effective_cost) AS cost, sum(productive_cost) AS productive_cost,
       bool_or(is_estimated) AS has_estimate
FROM model_cost_day
WHERE day >= CAST($start AS DATE) AND day < CAST($end AS DATE)
  AND ($team = '' OR model IN (SELECT model FROM job_usage WHERE team = $team))
GROUP BY ALL
ORDER BY day, cost DESC NULLS LAST
