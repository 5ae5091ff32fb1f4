-- question: How long did operations on network file systems take, hour by hour?
-- grain: hour, file system
-- params: start, end, cluster ('' for all)
-- time: hours
SELECT hour_start AS at, cluster || ': ' || file_system AS file_system, sum(read_count) AS read_count, sum(write_count) AS write_count,
       sum(read_operation_seconds) AS read_operation_seconds, sum(write_operation_seconds) AS write_operation_seconds,
       sum(read_bytes) AS read_bytes, sum(written_bytes) AS written_bytes
FROM storage_hour
WHERE hour_start >= $start AND hour_start < $end AND ($cluster = '' OR cluster = $cluster)
GROUP BY ALL
ORDER BY "at", file_system
