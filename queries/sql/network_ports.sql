-- question: Which network ports carried most, waited, or failed?
-- grain: port
-- params: start, end, cluster ('' for all)
SELECT cluster, node, device, port, max(link_layer) AS link_layer,
       max(line_rate_bytes_per_second) AS line_rate_bytes_per_second,
       sum(transmit_bytes) AS transmit_bytes, sum(receive_bytes) AS receive_bytes,
       max(peak_active_ratio) AS peak_active_ratio, sum(wait_count) AS wait_count, sum(error_count) AS error_count,
       sum(link_downed_count) AS link_downed_count, sum(reset_count) AS reset_count,
       sum(observed_seconds) AS observed_seconds
FROM network_hour
WHERE hour_start >= $start AND hour_start < $end AND ($cluster = '' OR cluster = $cluster)
GROUP BY ALL
ORDER BY peak_active_ratio DESC NULLS LAST, cluster, node, device, port
