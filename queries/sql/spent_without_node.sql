-- question: What did anything cost that belongs to no node, day by day?
-- grain: day, currency, provider, category, commitment status, kind, service, bucket, state, resource, team, model
-- params: start, end
-- time: hours
-- with: spent
SELECT day, billing_currency, provider, charge_category, commitment_status, cost_kind, service_name, bucket, state,
       cluster, node, resource_id, team, model, is_estimated, in_scope, sum(billed_cost) AS billed_cost,
       sum(effective_cost) AS effective_cost, CAST(sum(held_gpu_seconds) AS DECIMAL(28, 9)) AS held_gpu_seconds
FROM spent
WHERE node = ''
GROUP BY ALL
