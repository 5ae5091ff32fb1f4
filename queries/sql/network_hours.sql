-- question: How much did the fast and the ordinary network carry, hour by hour?
-- grain: hour, link layer
-- params: start, end, cluster ('' for all)
-- time: hours
SELECT hour_start AS at, coalesce(link_layer, 'unknown') AS link_layer, sum(transmit_bytes) AS transmit_bytes,
       sum(receive_bytes) AS receive_bytes, max(peak_active_ratio) AS peak_active_ratio
FROM network_hour
WHERE hour_start >= $start AND hour_start < $end AND ($cluster = '' OR cluster = $cluster)
GROUP BY ALL
ORDER BY "at", link_layer
