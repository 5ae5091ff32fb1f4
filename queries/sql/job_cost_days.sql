-- question: What did each job run cost on each day, and what of it was idle?
-- grain: day, job run, currency
-- params: start, end, cluster ('' for all), team ('' for all)
-- time: hours
-- The costs of `jobs` and `bottleneck_jobs` before their days are summed: for who converts each day by its own rate.
SELECT CAST(hour_start AS DATE) AS day, cluster, job_id, submitted_at, restart_count, billing_currency,
       sum(effective_cost) AS effective_cost, bool_or(is_estimated) AS has_estimate,
       sum(effective_cost) FILTER (state IN ('allocated_idle', 'held_idle')) AS idle_cost
FROM allocation_hour
WHERE bucket = 'allocated' AND hour_start >= $start AND hour_start < $end
  AND ($cluster = '' OR cluster = $cluster) AND ($team = '' OR team = $team)
GROUP BY ALL
ORDER BY day, cluster, job_id, submitted_at, restart_count, billing_currency
