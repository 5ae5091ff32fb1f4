-- What runs cost on each day, each row under the name of its model, team, project, user or run ($by), with what its
-- training told on that day; a run's samples and tokens of a day count where `is_most` says so, once.
WITH spent AS (
    SELECT day, cluster, job_id, submitted_at, team, "user", model, billing_currency,
           sum(effective_cost) AS effective_cost, sum(productive_cost) AS productive_cost, sum(idle_cost) AS idle_cost,
           sum(held_gpu_seconds) AS held_gpu_seconds, sum(productive_gpu_seconds) AS productive_gpu_seconds,
           bool_or(is_estimated) AS is_estimated
    FROM spend_day
    WHERE day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
      AND in_scope AND bucket = 'allocated' AND ($cluster = '' OR cluster = $cluster)
    GROUP BY ALL
), told AS (
    SELECT day, cluster, job_id, submitted_at, sum(trained_sample_count) AS samples, sum(trained_token_count) AS tokens
    FROM training_day
    WHERE day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE) AND job_id <> ''
    GROUP BY ALL
), root AS (
    SELECT DISTINCT cluster, job_id, submitted_at AS first_submitted_at FROM job WHERE restart_count = 0
), runs AS (
    SELECT spent.*, samples, tokens, coalesce(root.first_submitted_at, spent.submitted_at) AS first_submitted_at,
           row_number() OVER (PARTITION BY day, spent.cluster, spent.job_id, submitted_at
                              ORDER BY held_gpu_seconds DESC, billing_currency, team, "user", model) = 1 AS is_most
    FROM spent
    LEFT JOIN told USING (day, cluster, job_id, submitted_at)
    ASOF LEFT JOIN root ON spent.cluster = root.cluster AND spent.job_id = root.job_id
                       AND spent.submitted_at >= root.first_submitted_at
)
SELECT runs.*,
       CASE $by WHEN 'model' THEN runs.model WHEN 'team' THEN runs.team WHEN 'user' THEN runs."user"
                WHEN 'project' THEN coalesce(nullif(job.account, ''), 'no project')
                ELSE runs.cluster || ' ' || runs.job_id || ' of ' || strftime(first_submitted_at, '%-d %b %H:%M')
       END AS name
FROM runs
LEFT JOIN (SELECT cluster, job_id, submitted_at, max(account) AS account FROM job WHERE $by = 'project' GROUP BY ALL) AS job
    USING (cluster, job_id, submitted_at)
WHERE $team = '' OR runs.team = $team
