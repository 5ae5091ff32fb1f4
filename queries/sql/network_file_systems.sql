-- question: What did nodes ask of network file systems, how long did that take, and what failed?
-- grain: file system
-- params: start, end, cluster ('' for all)
-- time: hours
SELECT cluster, filesystem_type, file_system, count(DISTINCT node) AS node_count,
       sum(read_count) AS read_count, sum(write_count) AS write_count, sum(metadata_count) AS metadata_count,
       sum(read_bytes) AS read_bytes, sum(written_bytes) AS written_bytes,
       sum(read_operation_seconds) AS read_operation_seconds,
       sum(write_operation_seconds) AS write_operation_seconds,
       sum(metadata_operation_seconds) AS metadata_operation_seconds,
       sum(queue_seconds) AS queue_seconds, sum(error_count) AS error_count,
       sum(retransmission_count) AS retransmission_count, sum(timeout_count) AS timeout_count,
       mode(longest_operation) AS longest_operation
FROM storage_hour
WHERE hour_start >= $start AND hour_start < $end AND ($cluster = '' OR cluster = $cluster)
GROUP BY ALL
ORDER BY coalesce(sum(read_operation_seconds), 0) + coalesce(sum(write_operation_seconds), 0)
         + coalesce(sum(metadata_operation_seconds), 0) DESC, cluster, filesystem_type, file_system
