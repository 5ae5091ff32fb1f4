-- question: Which nodes does the ledger see, how much of them, and when last?
-- grain: node
-- params: start, end, cluster ('' for all)
-- time: days
SELECT cluster, node, sum(gpu_existed_seconds) / 3600 AS existed_gpu_hours,
       sum(gpu_existed_seconds) AS gpu_existed_seconds, sum(gpu_observed_seconds) AS gpu_observed_seconds,
       sum(gpu_held_known_seconds) AS gpu_held_known_seconds,
       max(evidence_quality) AS evidence_quality, max(last_sampled_at) AS last_sampled_at,
       sum(failed_run_count) AS failed_run_count, sum(rejected_count) AS rejected_count
FROM coverage_day
WHERE day >= CAST($start AS DATE) AND day < CAST($end AS DATE) AND ($cluster = '' OR cluster = $cluster)
GROUP BY ALL
ORDER BY sum(gpu_observed_seconds) / nullif(sum(gpu_existed_seconds), 0) NULLS FIRST, cluster, node
