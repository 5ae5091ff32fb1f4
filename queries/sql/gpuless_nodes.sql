-- question: Which nodes report, or does a scheduler list, of which no GPU was ever seen?
-- grain: node
-- params: start, end, cluster ('' for all)
-- time: hours
SELECT cluster, node, max(sampled_at) AS last_sampled_at
FROM (
    SELECT cluster, node, sampled_at FROM collector_run WHERE sampled_at >= $start AND sampled_at < $end
    UNION ALL
    SELECT cluster, node, NULL FROM node WHERE exists_start < $end AND coalesce(exists_end, $end) >= $start
)
WHERE ($cluster = '' OR cluster = $cluster) AND (cluster, node) NOT IN (SELECT (cluster, node) FROM gpu)
GROUP BY ALL
ORDER BY cluster, node
