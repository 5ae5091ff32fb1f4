-- question: How much energy did the GPUs of each node draw by their own counters, and for how long was it seen?
-- grain: hour, node
-- params: start, end
-- time: hours
-- An hour in which a device of the node says nothing about its energy is left out: it is not known, and not 0.
SELECT hour_start, cluster, node, sum(energy_joules) AS energy_joules,
       sum(CAST(existed_seconds AS DOUBLE) * coverage_ratio) / count(*) AS measured_seconds
FROM gpu_hour
WHERE hour_start >= $start AND hour_start < $end
GROUP BY ALL
HAVING count(energy_joules) = count(*)
ORDER BY hour_start, cluster, node
