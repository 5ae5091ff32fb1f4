-- question: Which network ports carried most, waited, or failed?
-- grain: port
-- params: start, end, cluster ('' for all)
-- time: hours
SELECT cluster, node, device, port, max(link_layer) AS link_layer,
       max(line_rate_bytes_per_second) AS line_rate_bytes_per_second,
       min(lowest_line_rate_bytes_per_second) AS lowest_line_rate_bytes_per_second,
       sum(transmit_bytes) AS transmit_bytes, sum(receive_bytes) AS receive_bytes,
       max(peak_active_ratio) AS peak_active_ratio, sum(wait_count) AS wait_count, sum(error_count) AS error_count,
       sum(link_downed_count) AS link_downed_count, sum(down_seconds) AS down_seconds,
       sum(congestion_mark_count) AS congestion_mark_count,
       sum(congestion_notification_count) AS congestion_notification_count,
       sum(out_of_sequence_count) AS out_of_sequence_count, sum(retransmission_count) AS retransmission_count,
       sum(acknowledgement_timeout_count) AS acknowledgement_timeout_count,
       sum(receiver_not_ready_count) AS receiver_not_ready_count,
       bool_or(has_stopped_counter) AS has_stopped_counter, sum(reset_count) AS reset_count,
       sum(observed_seconds) AS observed_seconds
FROM network_hour
WHERE hour_start >= $start AND hour_start < $end AND ($cluster = '' OR cluster = $cluster)
GROUP BY ALL
ORDER BY peak_active_ratio DESC NULLS LAST, cluster, node, device, port
