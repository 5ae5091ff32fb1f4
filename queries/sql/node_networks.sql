-- question: Whose network is not what it should be, and how does its TCP fare?
-- grain: node
-- params: start, end, cluster ('' for all)
-- time: hours
WITH hours AS (
    SELECT *, evidence <> '' AS is_short, max(hour_start) OVER (PARTITION BY cluster, node) AS last_hour
    FROM node_network_hour
    WHERE hour_start >= $start AND hour_start < $end AND ($cluster = '' OR cluster = $cluster)
)
SELECT cluster, node, arg_max(expected_port_count, hour_start) AS expected_port_count,
       arg_max(up_port_count, hour_start) AS up_port_count,
       arg_max(expected_line_rate_bytes_per_second, hour_start) AS expected_line_rate_bytes_per_second,
       arg_max(expectation_source, hour_start) AS expectation_source,
       arg_max(expected_ethernet_port_count, hour_start) AS expected_ethernet_port_count,
       arg_max(up_ethernet_port_count, hour_start) AS up_ethernet_port_count,
       arg_max(expected_ethernet_line_rate_bytes_per_second, hour_start)
           AS expected_ethernet_line_rate_bytes_per_second,
       arg_max(ethernet_expectation_source, hour_start) AS ethernet_expectation_source,
       arg_max(evidence, hour_start) FILTER (is_short) AS evidence,
       count(*) FILTER (is_short) AS short_hour_count, max(hour_start) FILTER (is_short) AS last_short_at,
       bool_or(is_short) FILTER (hour_start = last_hour) AS is_short_now,
       sum(expected_capacity_bytes) AS expected_capacity_bytes,
       sum(capacity_bytes) FILTER (expected_capacity_bytes IS NOT NULL) AS capacity_bytes,
       sum(tcp_sent_segment_count) AS tcp_sent_segment_count,
       sum(tcp_retransmitted_segment_count) AS tcp_retransmitted_segment_count,
       sum(tcp_timeout_count) AS tcp_timeout_count, sum(tcp_drop_count) AS tcp_drop_count,
       sum(tcp_reset_count) AS tcp_reset_count
FROM hours
GROUP BY cluster, node
ORDER BY is_short_now DESC NULLS LAST, short_hour_count DESC, cluster, node
