-- question: What did the runs of each model, team, project, user cost day by day, or each run?
-- grain: day, name, team, currency
-- params: start, end, cluster ('' for all), team ('' for all), by ('model', 'team', 'project', 'user' or 'run')
-- time: days
-- with: placed
-- The money of `unit_costs` before its days are summed: for who converts each day by its own rate. Runs are not counted
-- here: one that lasts for days would count on each of them.
SELECT day, name, team, billing_currency, sum(effective_cost) AS effective_cost,
       sum(productive_cost) AS productive_cost, sum(idle_cost) AS idle_cost,
       sum(effective_cost) FILTER (WHERE samples IS NOT NULL) AS sampled_cost,
       sum(effective_cost) FILTER (WHERE tokens IS NOT NULL) AS token_trained_cost
FROM placed
GROUP BY ALL
ORDER BY day, name, team, billing_currency
