-- question: What did the runs of each model, team, project, user cost, or each run, what of it was productive, and what did trainings get for it?
-- grain: name, team, currency
-- params: start, end, cluster ('' for all), team ('' for all), by ('model', 'team', 'project', 'user' or 'run')
-- Whole UTC days; effective cost of the AI estate that jobs held. A run that was requeued is one run: Slurm submits it
-- anew under its id, so that it goes by the last submission of that id that was no restart.
-- What samples cost is what the runs that told samples cost on the days on which they told them, on all of their nodes, and
-- no other runs; tokens likewise. A run's samples of a day stand once: where it held most on that day.
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
), placed AS (
    SELECT spent.*, samples, tokens, coalesce(root.first_submitted_at, spent.submitted_at) AS first_submitted_at,
           row_number() OVER (PARTITION BY day, spent.cluster, spent.job_id, submitted_at
                              ORDER BY held_gpu_seconds DESC, billing_currency, team, "user", model) = 1 AS is_most
    FROM spent
    LEFT JOIN told USING (day, cluster, job_id, submitted_at)
    ASOF LEFT JOIN root ON spent.cluster = root.cluster AND spent.job_id = root.job_id
                       AND spent.submitted_at >= root.first_submitted_at
)
SELECT CASE $by WHEN 'model' THEN placed.model WHEN 'team' THEN placed.team WHEN 'user' THEN placed."user"
                WHEN 'project' THEN coalesce(nullif(job.account, ''), 'no project')
                ELSE placed.cluster || ' ' || placed.job_id || ' of ' || strftime(first_submitted_at, '%-d %b %H:%M')
       END AS name,
       placed.team, billing_currency, sum(effective_cost) AS effective_cost, sum(productive_cost) AS productive_cost,
       sum(idle_cost) AS idle_cost, sum(held_gpu_seconds) AS held_gpu_seconds,
       sum(productive_gpu_seconds) AS productive_gpu_seconds,
       count(DISTINCT (cluster, job_id, first_submitted_at)) FILTER (WHERE job_id <> '') AS run_count,
       CAST(sum(samples) FILTER (WHERE is_most) AS BIGINT) AS trained_sample_count,
       sum(effective_cost) FILTER (WHERE samples IS NOT NULL) AS sampled_cost,
       CAST(sum(tokens) FILTER (WHERE is_most) AS BIGINT) AS trained_token_count,
       sum(effective_cost) FILTER (WHERE tokens IS NOT NULL) AS token_trained_cost,
       bool_or(is_estimated) AS has_estimate
FROM placed
LEFT JOIN (SELECT cluster, job_id, submitted_at, max(account) AS account FROM job WHERE $by = 'project' GROUP BY ALL) AS job
    USING (cluster, job_id, submitted_at)
WHERE $team = '' OR placed.team = $team
GROUP BY ALL
ORDER BY effective_cost DESC NULLS LAST, name
