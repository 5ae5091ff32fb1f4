-- question: What did the servers with GPUs cost, by kind of server, and what of it is committed, owned or estimated?
-- grain: provider, region, instance type, GPU model, currency
-- params: start, end, cluster ('' for all), team ('' for all: then also what nobody held)
-- time: hours
-- Effective cost of usage of the servers alone, in the hours in which devices were seen: no storage, network or tax.
WITH measured AS (
    SELECT DISTINCT hour_start FROM gpu_hour
    WHERE hour_start >= $start AND hour_start < $end AND ($cluster = '' OR cluster = $cluster)
), model AS (
    SELECT cluster, node, max(gpu_model) AS gpu_model FROM gpu WHERE parent_gpu_uuid = '' GROUP BY ALL
), part AS (
    SELECT hour_start, cluster, node, billing_currency, sum(effective_cost) AS effective_cost,
           sum(effective_cost) FILTER (WHERE commitment_status = 'Used') AS committed_cost,
           sum(effective_cost) FILTER (WHERE provider IN (SELECT owner FROM asset)) AS owned_cost,
           sum(effective_cost) FILTER (WHERE is_estimated) AS estimated_cost,
           count(*) FILTER (WHERE effective_cost IS NULL) AS unknown_count,
           sum(held_gpu_seconds) AS costed_gpu_seconds
    FROM allocation_hour
    WHERE hour_start IN (SELECT hour_start FROM measured) AND node <> '' AND charge_category = 'Usage'
      AND cost_kind = 'usage' AND commitment_status <> 'Unused' AND ($cluster = '' OR cluster = $cluster)
      AND ($team = '' OR team = $team)
    GROUP BY ALL
)
SELECT coalesce(node.provider, '') AS provider, coalesce(node.region, '') AS region,
       coalesce(node.instance_type, '') AS instance_type, coalesce(gpu_model, '') AS gpu_model, billing_currency,
       sum(effective_cost) AS effective_cost, sum(committed_cost) AS committed_cost, sum(owned_cost) AS owned_cost,
       sum(estimated_cost) AS estimated_cost, CAST(sum(unknown_count) AS BIGINT) AS unknown_count,
       CAST(round(coalesce(sum(costed_gpu_seconds), 0) * 1000) AS BIGINT) AS costed_ms
FROM part
LEFT JOIN model USING (cluster, node)
ASOF LEFT JOIN node
    ON part.cluster = node.cluster AND part.node = node.node AND part.hour_start + INTERVAL 1 HOUR > node.exists_start
GROUP BY ALL
ORDER BY effective_cost DESC NULLS LAST, billing_currency
