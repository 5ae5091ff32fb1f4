-- question: Which agents report, how do their collectors fare, and what do they cost their node?
-- grain: node, collector
-- params: start, end, cluster ('' for all)
-- time: hours
SELECT cluster, node, collector, max(sampled_at) AS last_run_at, CAST(sum(rounds) AS BIGINT) AS run_count,
       CAST(coalesce(sum(rounds) FILTER (NOT is_ok), 0) AS BIGINT) AS failed_count,
       sum(duration_seconds) / sum(rounds) AS mean_seconds,
       max(longest_seconds) AS max_seconds, arg_max(error, sampled_at) FILTER (error IS NOT NULL) AS last_error
FROM (
    -- A row adds up rounds that went alike; one of an agent of before is one round.
    SELECT *, coalesce(round_count, 1) AS rounds, coalesce(longest_round_seconds, duration_seconds) AS longest_seconds
    FROM collector_run
    WHERE sampled_at >= $start AND sampled_at < $end AND ($cluster = '' OR cluster = $cluster)
)
GROUP BY ALL
ORDER BY failed_count DESC, cluster, node, collector
