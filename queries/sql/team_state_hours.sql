-- question: What did the GPUs do that a team's jobs held, in GPU-hours by state?
-- grain: bucket of time, state
-- params: start, end, cluster ('' for all), team ('' for all), bucket ('hour' or 'day')
-- time: hours
SELECT date_trunc($bucket, hour_start) AS at, state, sum(seconds * gpu_fraction) / 3600 AS gpu_hours
FROM (
    UNPIVOT (
        SELECT hour_start, gpu_fraction,
               unknown_seconds AS unknown, faulty_seconds AS faulty, orphaned_seconds AS orphaned,
               unallocated_seconds AS unallocated, allocated_idle_seconds AS allocated_idle,
               held_idle_seconds AS held_idle, throttled_seconds AS throttled,
               underused_seconds AS underused, productive_seconds AS productive
        FROM job_gpu_hour
        WHERE hour_start >= $start AND hour_start < $end
          AND ($cluster = '' OR cluster = $cluster) AND ($team = '' OR team = $team)
    )
    ON unknown, faulty, orphaned, unallocated, allocated_idle, held_idle, throttled, underused, productive
    INTO NAME state VALUE seconds
)
GROUP BY ALL
ORDER BY "at", state
