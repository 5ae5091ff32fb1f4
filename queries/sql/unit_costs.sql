-- question: What did the runs of each model, team, project, user cost, or each run, what of it was productive, and what did trainings get for it?
-- grain: name, team, currency
-- params: start, end, cluster ('' for all), team ('' for all), by ('model', 'team', 'project', 'user' or 'run')
-- time: days
-- with: placed
-- Whole UTC days; effective cost of the AI estate that jobs held. A run that was requeued is one run: Slurm submits it
-- anew under its id, so that it goes by the last submission of that id that was no restart.
-- What samples cost is what the runs that told samples cost on the days on which they told them, on all of their nodes, and
-- no other runs; tokens likewise. A run's samples of a day stand once: where it held most on that day.
SELECT name, team, billing_currency, sum(effective_cost) AS effective_cost, sum(productive_cost) AS productive_cost,
       sum(idle_cost) AS idle_cost, sum(held_gpu_seconds) AS held_gpu_seconds,
       sum(productive_gpu_seconds) AS productive_gpu_seconds,
       count(DISTINCT (cluster, job_id, first_submitted_at)) FILTER (WHERE job_id <> '') AS run_count,
       CAST(sum(samples) FILTER (WHERE is_most) AS BIGINT) AS trained_sample_count,
       sum(effective_cost) FILTER (WHERE samples IS NOT NULL) AS sampled_cost,
       CAST(sum(tokens) FILTER (WHERE is_most) AS BIGINT) AS trained_token_count,
       sum(effective_cost) FILTER (WHERE tokens IS NOT NULL) AS token_trained_cost,
       bool_or(is_estimated) AS has_estimate
FROM placed
GROUP BY ALL
ORDER BY effective_cost DESC NULLS LAST, name
