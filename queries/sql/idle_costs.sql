-- question: What did idle GPUs cost on each day, in the three parts of idleness and orphaned time beside them?
-- grain: day, currency, state
-- params: start, end, cluster ('' for all), team ('' for all)
-- time: hours
SELECT CAST(hour_start AS DATE) AS day, billing_currency, state, sum(effective_cost) AS effective_cost,
       sum(held_gpu_seconds) / 3600 AS gpu_hours, bool_or(is_estimated) AS has_estimate
FROM allocation_hour
WHERE hour_start >= $start AND hour_start < $end AND in_scope AND gpu_uuid <> ''
  AND state IN ('unallocated', 'allocated_idle', 'held_idle', 'orphaned')
  AND ($cluster = '' OR cluster = $cluster) AND ($team = '' OR team = $team)
GROUP BY ALL
ORDER BY day, effective_cost DESC NULLS LAST, state
