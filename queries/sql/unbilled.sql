-- question: Which device time has no bill, and what should it cost?
-- grain: node, reason, currency
-- params: start, end, cluster ('' for all)
-- time: hours
SELECT cluster, node, provider, instance_type, reason, sum(gpu_existed_seconds) / 3600 AS gpu_hours,
       sum(gpu_known_seconds) / 3600 AS known_gpu_hours, sum(expected_cost) AS expected_cost, billing_currency,
       min(hour_start) AS first_hour, max(hour_start) AS last_hour
FROM unbilled_hour
WHERE hour_start >= $start AND hour_start < $end AND ($cluster = '' OR cluster = $cluster)
GROUP BY ALL
ORDER BY expected_cost DESC NULLS LAST, gpu_hours DESC, cluster, node, reason
