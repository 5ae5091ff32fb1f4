-- question: How much of the GPU time that jobs held was in runs that were interrupted?
-- grain: one row
-- params: start, end, cluster ('' for all), team ('' for all)
-- time: hours
SELECT coalesce(sum(gpu_allocated_seconds), 0) AS held_seconds,
       coalesce(sum(gpu_allocated_seconds) FILTER (WHERE state IN ('PREEMPTED', 'NODE_FAIL')), 0)
           AS interrupted_seconds,
       count(*) FILTER (WHERE state IN ('PREEMPTED', 'NODE_FAIL')) AS interrupted_run_count,
       count(*) AS run_count
FROM job_usage
WHERE ended_at >= $start AND ended_at < $end AND ($cluster = '' OR cluster = $cluster) AND ($team = '' OR team = $team)
