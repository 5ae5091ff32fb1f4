-- question: What did a held GPU-hour of the AI estate cost on each day, by team?
-- grain: day, currency, team
-- params: start, end, cluster ('' for all), team ('' for all)
-- time: hours
-- with: spent
SELECT day, billing_currency, team, sum(effective_cost) AS effective_cost, sum(held_gpu_seconds) AS held_gpu_seconds
FROM spent
WHERE in_scope AND bucket = 'allocated' AND ($cluster = '' OR cluster = $cluster) AND ($team = '' OR team = $team)
GROUP BY ALL
ORDER BY day, effective_cost DESC NULLS LAST, team
