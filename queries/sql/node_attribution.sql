-- question: Of how much of the time of processes on GPUs is it known whose they were, and from where?
-- grain: node
-- params: start, end, cluster ('' for all)
-- time: hours
SELECT cluster, node, sum(observed_seconds) AS observed_seconds, sum(invisible_seconds) AS invisible_seconds,
       sum(process_seconds) AS process_seconds, sum(cgroup_seconds) AS cgroup_seconds,
       sum(prolog_seconds) AS prolog_seconds, sum(pod_resources_seconds) AS pod_resources_seconds,
       sum(environ_seconds) AS environ_seconds, sum(other_seconds) AS other_seconds,
       sum(unattributed_seconds) AS unattributed_seconds,
       sum(confidence_ratio * CAST(process_seconds - unattributed_seconds AS DOUBLE)) AS confidence_weight
FROM attribution_hour
WHERE hour_start >= $start AND hour_start < $end AND ($cluster = '' OR cluster = $cluster)
GROUP BY cluster, node
ORDER BY sum(unattributed_seconds) + sum(invisible_seconds) DESC, cluster, node
