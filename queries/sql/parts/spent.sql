-- What anything cost between $start and $end: whole days from `spend_day`, the hours before the first and after the last
-- of them from `allocation_hour`. The amounts are those of `allocation_hour`, exactly.
SELECT day, billing_currency, provider, charge_category, commitment_status, cost_kind, service_name, bucket, state,
       cluster, node, resource_id, team, model, is_estimated, in_scope, billed_cost, effective_cost, held_gpu_seconds
FROM spend_day
WHERE day >= CAST($start + INTERVAL 1 DAY - INTERVAL 1 MICROSECOND AS DATE) AND day < CAST($end AS DATE)
UNION ALL
SELECT CAST(hour_start AS DATE), billing_currency, provider, charge_category, commitment_status, cost_kind,
       coalesce(service_name, ''), bucket, state, cluster, node, CASE WHEN node = '' THEN resource_id ELSE '' END,
       team, model, is_estimated, in_scope, billed_cost, effective_cost, held_gpu_seconds
FROM allocation_hour
WHERE hour_start >= $start AND hour_start < $end
  AND (hour_start < date_trunc('day', $start + INTERVAL 1 DAY - INTERVAL 1 MICROSECOND)
       OR hour_start >= date_trunc('day', $end))
