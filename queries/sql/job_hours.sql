-- question: What limited one job, hour by hour, in GPU-hours by class?
-- grain: hour, class
-- params: cluster, job_id, submitted_at, restart_count, team ('' for all)
SELECT hour_start AS at, bottleneck, sum(seconds) / 3600 AS gpu_hours
FROM (
    UNPIVOT (
        SELECT bottleneck_hour.hour_start,
               input_storage_seconds AS input_storage, input_cpu_seconds AS input_cpu,
               host_memory_seconds AS host_memory, communication_seconds AS communication,
               dram_bound_seconds AS dram_bound, compute_tensor_seconds AS compute_tensor,
               compute_other_seconds AS compute_other, launch_bound_seconds AS launch_bound,
               power_capped_seconds AS power_capped, straggler_seconds AS straggler,
               idle_seconds AS idle, throttled_seconds AS throttled, unknown_seconds AS unknown
        FROM bottleneck_hour
        WHERE cluster = $cluster AND job_id = $job_id AND submitted_at = $submitted_at AND restart_count = $restart_count
          AND ($team = '' OR EXISTS (
              FROM job_usage WHERE job_usage.cluster = $cluster AND job_usage.job_id = $job_id
              AND job_usage.submitted_at = $submitted_at AND job_usage.team = $team))
    )
    ON input_storage, input_cpu, host_memory, communication, dram_bound, compute_tensor, compute_other,
       launch_bound, power_capped, straggler, idle, throttled, unknown
    INTO NAME bottleneck VALUE seconds
)
GROUP BY ALL
HAVING gpu_hours > 0
ORDER BY "at", bottleneck
