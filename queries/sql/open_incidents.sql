-- question: Which held GPUs idle now, since when, held by whom, and what has that cost?
-- grain: idle incident
-- params: cluster ('' for all), team ('' for all)
SELECT cluster, node, gpu_uuid, opened_at, state, job_id, "user", team, idle_seconds, effective_cost,
       billing_currency, is_estimated, status
FROM idle_incident
WHERE closed_at IS NULL AND status <> 'closed'
  AND ($cluster = '' OR cluster = $cluster) AND ($team = '' OR team = $team)
ORDER BY idle_seconds DESC
