-- question: How much GPU time existed, was held and was productive, hour by hour, on which kind of server?
-- grain: hour, provider, region, instance type, GPU model
-- params: start, end, cluster ('' for all), team ('' for all)
-- time: hours
-- A slice counts for its part of a device; a server counts with one model. Existing time is that of all teams.
WITH seen AS (
    SELECT hour_start, cluster, node, sum(existed_seconds * gpu_fraction) AS existed_seconds,
           sum(energy_joules) AS energy_joules,
           sum(existed_seconds * gpu_fraction) FILTER (WHERE energy_joules IS NOT NULL) AS metered_seconds
    FROM gpu_hour
    WHERE hour_start >= $start AND hour_start < $end AND ($cluster = '' OR cluster = $cluster)
    GROUP BY ALL
), held AS (
    SELECT hour_start, cluster, node,
           sum((unknown_seconds + faulty_seconds + orphaned_seconds + unallocated_seconds + allocated_idle_seconds
                + held_idle_seconds + throttled_seconds + underused_seconds + productive_seconds) * gpu_fraction)
               AS held_seconds,
           sum(productive_seconds * gpu_fraction) AS productive_seconds, max(memory_used_bytes) AS memory_used_bytes
    FROM job_gpu_hour
    WHERE hour_start >= $start AND hour_start < $end AND ($cluster = '' OR cluster = $cluster)
      AND ($team = '' OR team = $team)
    GROUP BY ALL
), model AS (
    SELECT cluster, node, max(gpu_model) AS gpu_model, max(memory_total_bytes) AS memory_total_bytes
    FROM gpu WHERE parent_gpu_uuid = '' GROUP BY ALL
), kind AS (
    SELECT seen.*, held_seconds, productive_seconds, memory_used_bytes,
           node.provider, node.region, node.instance_type, node.gpu_count
    FROM seen
    LEFT JOIN held USING (hour_start, cluster, node)
    ASOF LEFT JOIN node
        ON seen.cluster = node.cluster AND seen.node = node.node
        AND seen.hour_start + INTERVAL 1 HOUR > node.exists_start
)
SELECT hour_start, coalesce(provider, '') AS provider, coalesce(region, '') AS region,
       coalesce(instance_type, '') AS instance_type, coalesce(gpu_model, '') AS gpu_model,
       max(gpu_count) AS gpu_count, max(memory_total_bytes) AS memory_total_bytes,
       CAST(round(sum(existed_seconds) * 1000) AS BIGINT) AS existed_ms,
       CAST(round(coalesce(sum(held_seconds), 0) * 1000) AS BIGINT) AS held_ms,
       CAST(round(coalesce(sum(productive_seconds), 0) * 1000) AS BIGINT) AS productive_ms,
       max(memory_used_bytes) AS memory_used_bytes, sum(energy_joules) AS energy_joules,
       CAST(round(coalesce(sum(metered_seconds), 0) * 1000) AS BIGINT) AS metered_ms
FROM kind
LEFT JOIN model USING (cluster, node)
GROUP BY ALL
ORDER BY hour_start, provider, region, instance_type, gpu_model
