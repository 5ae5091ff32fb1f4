-- question: What limited each job, in GPU-seconds by class, and what did it cost?
-- grain: job run, class, currency
-- params: start, end, cluster ('' for all), team ('' for all)
-- time: hours
WITH classes AS (
    UNPIVOT (
        SELECT cluster, job_id, submitted_at, restart_count,
               sum(input_storage_seconds) AS input_storage, sum(input_cpu_seconds) AS input_cpu,
               sum(host_memory_seconds) AS host_memory, sum(communication_seconds) AS communication,
               sum(dram_bound_seconds) AS dram_bound, sum(compute_tensor_seconds) AS compute_tensor,
               sum(compute_other_seconds) AS compute_other, sum(launch_bound_seconds) AS launch_bound,
               sum(power_capped_seconds) AS power_capped, sum(straggler_seconds) AS straggler,
               sum(idle_seconds) AS idle, sum(throttled_seconds) AS throttled, sum(unknown_seconds) AS unknown
        FROM bottleneck_hour
        WHERE hour_start >= $start AND hour_start < $end AND ($cluster = '' OR cluster = $cluster)
        GROUP BY ALL
    )
    ON input_storage, input_cpu, host_memory, communication, dram_bound, compute_tensor, compute_other,
       launch_bound, power_capped, straggler, idle, throttled, unknown
    INTO NAME bottleneck VALUE gpu_seconds
),
cost AS (
    SELECT cluster, job_id, submitted_at, restart_count, billing_currency, sum(effective_cost) AS job_cost
    FROM allocation_hour
    WHERE bucket = 'allocated' AND hour_start >= $start AND hour_start < $end AND ($team = '' OR team = $team)
    GROUP BY ALL
),
names AS (
    SELECT cluster, job_id, submitted_at, restart_count, max("user") AS "user", max(team) AS team, max(model) AS model,
           max(job_name) AS job_name
    FROM job_usage GROUP BY ALL
)
SELECT classes.cluster, classes.job_id, classes.submitted_at, classes.restart_count, names."user", names.team,
       names.model, names.job_name, classes.bottleneck, classes.gpu_seconds, cost.billing_currency, cost.job_cost
FROM classes
JOIN names USING (cluster, job_id, submitted_at, restart_count)
LEFT JOIN cost USING (cluster, job_id, submitted_at, restart_count)
WHERE classes.gpu_seconds > 0 AND ($team = '' OR names.team = $team)
ORDER BY classes.gpu_seconds DESC, classes.cluster, classes.job_id, classes.submitted_at, classes.restart_count,
         classes.bottleneck, cost.billing_currency
