-- question: What did the runs of each model, team, project, user cost, or each run, and what of it was productive?
-- grain: name, team, currency
-- params: start, end, team ('' for all), by ('model', 'team', 'project', 'user' or 'run')
-- Whole UTC days; effective cost of the AI estate that jobs held. A run that was requeued is one run.
SELECT CASE $by WHEN 'model' THEN spend.model WHEN 'team' THEN spend.team WHEN 'user' THEN spend."user"
                WHEN 'project' THEN coalesce(nullif(job.account, ''), 'no project')
                ELSE spend.cluster || ' ' || spend.job_id || ' of ' || strftime(spend.submitted_at, '%-d %b %H:%M')
       END AS name,
       spend.team, billing_currency, sum(effective_cost) AS effective_cost, sum(productive_cost) AS productive_cost,
       sum(idle_cost) AS idle_cost, sum(held_gpu_seconds) AS held_gpu_seconds,
       sum(productive_gpu_seconds) AS productive_gpu_seconds,
       count(DISTINCT (cluster, job_id, submitted_at)) FILTER (WHERE job_id <> '') AS run_count,
       bool_or(is_estimated) AS has_estimate
FROM spend_day AS spend
LEFT JOIN (SELECT cluster, job_id, submitted_at, max(account) AS account FROM job WHERE $by = 'project' GROUP BY ALL) AS job
    USING (cluster, job_id, submitted_at)
WHERE day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
  AND in_scope AND bucket = 'allocated' AND ($team = '' OR spend.team = $team)
GROUP BY ALL
ORDER BY effective_cost DESC NULLS LAST, name
