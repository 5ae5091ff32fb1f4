-- question: Which jobs wait for GPUs, for how many, since when, and why?
-- grain: job run
-- params: now, cluster ('' for all), team ('' for all)
SELECT cluster, job_id, "user", team, model, partition, requested_gpu_count, pending_reason, submitted_at,
       (epoch_ms($now) - epoch_ms(submitted_at)) / 1000 AS waiting_seconds
FROM job_usage
WHERE state = 'PENDING' AND started_at IS NULL AND ended_at IS NULL AND requested_gpu_count > 0
  AND submitted_at <= $now
  AND ($cluster = '' OR cluster = $cluster) AND ($team = '' OR team = $team)
ORDER BY submitted_at
