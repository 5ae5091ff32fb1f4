-- question: Which devices did one job hold, and what did each do?
-- grain: device
-- params: cluster, job_id, submitted_at, restart_count, team ('' for all)
SELECT node, gpu_uuid, min(hour_start) AS first_hour, max(hour_start) AS last_hour,
       sum(held_seconds) AS held_seconds, sum(productive_seconds) AS productive_seconds,
       sum(underused_seconds) AS underused_seconds, sum(throttled_seconds) AS throttled_seconds,
       sum(allocated_idle_seconds + held_idle_seconds) AS idle_seconds, sum(unknown_seconds) AS unknown_seconds,
       avg(share_ratio) AS share_ratio, bool_or(is_estimated) AS is_estimated,
       avg(sm_active_ratio) AS sm_active_ratio, max(memory_used_bytes) AS memory_used_bytes,
       sum(energy_joules) AS energy_joules
FROM job_gpu_hour
WHERE cluster = $cluster AND job_id = $job_id AND submitted_at = $submitted_at AND restart_count = $restart_count AND ($team = '' OR team = $team)
GROUP BY ALL
ORDER BY node, gpu_uuid
