-- question: Which agents report, how do their collectors fare, and what do they cost their node?
-- grain: node, collector
-- params: start, end, cluster ('' for all)
-- time: hours
SELECT cluster, node, collector, max(sampled_at) AS last_run_at, count(*) AS run_count,
       count(*) FILTER (NOT is_ok) AS failed_count, avg(duration_seconds) AS mean_seconds,
       max(duration_seconds) AS max_seconds, arg_max(error, sampled_at) FILTER (error IS NOT NULL) AS last_error
FROM collector_run
WHERE sampled_at >= $start AND sampled_at < $end AND ($cluster = '' OR cluster = $cluster)
GROUP BY ALL
ORDER BY failed_count DESC, cluster, node, collector
