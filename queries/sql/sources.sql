-- question: How do the services of a cluster that the hub asks stand?
-- grain: source
-- params: none
SELECT source_name, kind, cluster, status, reached_at, answered_at, started_at, row_count, rejected_count, failed_count,
       message
FROM source_state
ORDER BY failed_count DESC, source_name
