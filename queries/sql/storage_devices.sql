-- question: Which file systems and devices are full, slow or silent?
-- grain: file system or block device of a node
-- params: start, end, cluster ('' for all)
-- time: days
SELECT cluster, node, mount_point, device, max(filesystem_type) AS filesystem_type,
       arg_max(capacity_bytes, day) AS capacity_bytes, arg_max(used_bytes, day) AS used_bytes,
       sum(read_bytes) AS read_bytes, sum(written_bytes) AS written_bytes,
       avg(read_latency_seconds) AS read_latency_seconds, max(io_active_ratio) AS io_active_ratio,
       sum(unresponsive_count) AS unresponsive_count
FROM storage_day
WHERE day >= CAST($start AS DATE) AND day < CAST($end AS DATE) AND ($cluster = '' OR cluster = $cluster)
GROUP BY ALL
ORDER BY arg_max(used_bytes, day) / nullif(arg_max(capacity_bytes, day), 0) DESC NULLS LAST, cluster, node, mount_point, device
