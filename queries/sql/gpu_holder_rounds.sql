-- question: Since when do nodes know who holds their GPUs, whether somebody does or not?
-- grain: node
-- params: start, end
-- time: hours
SELECT cluster, node, min(sampled_at) AS first_round_at, max(sampled_at) AS last_round_at
FROM collector_run
WHERE sampled_at >= $start AND sampled_at < $end AND collector = 'pod_resources' AND is_ok AND error IS NULL
GROUP BY cluster, node
ORDER BY cluster, node
