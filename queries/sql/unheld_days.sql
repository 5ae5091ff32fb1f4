-- question: What did the time of each node cost that nobody held, day by day?
-- grain: day, cluster, node, currency
-- params: start, end, cluster ('' for all)
-- time: days
SELECT day, cluster, node, billing_currency, sum(effective_cost) AS effective_cost,
       CAST(sum(held_gpu_seconds) AS DECIMAL(38, 18)) AS held_gpu_seconds, bool_or(is_estimated) AS has_estimate
FROM spend_day
WHERE day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
  AND in_scope AND bucket = 'idle' AND node <> '' AND ($cluster = '' OR cluster = $cluster)
GROUP BY ALL
ORDER BY day, cluster, node, billing_currency
