-- question: Which jobs ran or waited, how much did they hold, use and cost?
-- grain: job run and currency (one row without a currency where no cost is known)
-- params: start, end, cluster ('' for all), team ('' for all)
-- time: hours
-- Ids recur: a run is told apart by its submit time.
WITH cost AS (
    SELECT cluster, job_id, submitted_at, restart_count, billing_currency,
           sum(effective_cost) AS effective_cost, bool_or(is_estimated) AS has_estimate,
           sum(effective_cost) FILTER (state IN ('allocated_idle', 'held_idle')) AS idle_cost
    FROM allocation_hour
    WHERE bucket = 'allocated' AND hour_start >= $start AND hour_start < $end AND ($team = '' OR team = $team)
    GROUP BY ALL
)
SELECT job_usage.*, cost.billing_currency, cost.effective_cost, cost.idle_cost, cost.has_estimate
FROM job_usage LEFT JOIN cost USING (cluster, job_id, submitted_at, restart_count)
WHERE job_usage.submitted_at < $end
  AND coalesce(job_usage.ended_at, $end) >= $start
  AND ($cluster = '' OR job_usage.cluster = $cluster) AND ($team = '' OR job_usage.team = $team)
ORDER BY job_usage.gpu_idle_seconds DESC NULLS LAST, job_usage.submitted_at DESC, job_usage.cluster, job_usage.job_id,
         job_usage.restart_count, cost.billing_currency
