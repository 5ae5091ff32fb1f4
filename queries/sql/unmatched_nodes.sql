-- question: Which nodes does no bill row cover, and what are they estimated to cost?
-- grain: node, currency
-- params: start, end
-- time: hours
SELECT node.cluster, node.node, node.provider, node.instance_type, node.gpu_count,
       cost.billing_currency, cost.effective_cost AS estimated_cost
FROM node
LEFT JOIN (
    SELECT cluster, node, billing_currency, sum(effective_cost) AS effective_cost,
           bool_and(is_estimated) AS is_all_estimated
    FROM cost_hour WHERE hour_start >= $start AND hour_start < $end AND node <> ''
    GROUP BY ALL
) AS cost USING (cluster, node)
WHERE node.exists_start < $end AND coalesce(node.exists_end, $end) >= $start
  AND coalesce(cost.is_all_estimated, true)
ORDER BY estimated_cost DESC NULLS FIRST, node.cluster, node.node
