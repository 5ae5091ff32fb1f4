-- question: What did one job cost on each day, by the state of its devices?
-- grain: day, currency, state
-- params: cluster, job_id, submitted_at, restart_count, team ('' for all)
SELECT CAST(hour_start AS DATE) AS day, billing_currency, state, sum(effective_cost) AS effective_cost,
       sum(billed_cost) AS billed_cost, bool_or(is_estimated) AS has_estimate,
       max(allocated_method_id) AS allocated_method_id
FROM allocation_hour
WHERE bucket = 'allocated' AND cluster = $cluster AND job_id = $job_id AND submitted_at = $submitted_at AND restart_count = $restart_count
  AND ($team = '' OR team = $team)
GROUP BY ALL
ORDER BY day, effective_cost DESC NULLS LAST, state
