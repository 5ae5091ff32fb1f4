-- question: Which pods held which GPUs, as their nodes were told, and which round was the first without them?
-- grain: device, pod
-- params: start, end
-- time: hours
WITH seen AS (
    SELECT cluster, node, gpu_uuid, job_id, any_value(namespace) AS namespace, any_value(pod_name) AS pod_name,
           min(sampled_at) AS first_seen_at, max(sampled_at) AS last_seen_at,
           min(attribution_confidence_ratio) AS confidence_ratio
    FROM gpu_holder_sample
    WHERE sampled_at >= $start AND sampled_at < $end
    GROUP BY cluster, node, gpu_uuid, job_id
), rounds AS (
    SELECT cluster, node, sampled_at
    FROM collector_run
    WHERE sampled_at >= $start AND sampled_at < $end AND collector = 'pod_resources' AND is_ok AND error IS NULL
)
SELECT seen.*, rounds.sampled_at AS gone_at
FROM seen
ASOF LEFT JOIN rounds
ON seen.cluster = rounds.cluster AND seen.node = rounds.node AND seen.last_seen_at < rounds.sampled_at
ORDER BY cluster, node, gpu_uuid, job_id
