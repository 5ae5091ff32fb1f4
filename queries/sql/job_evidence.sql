-- question: On which evidence was one job's time given to its classes?
-- grain: class, name of the evidence
-- params: cluster, job_id, submitted_at, restart_count, team ('' for all)
SELECT bottleneck, first_evidence, second_evidence, third_evidence,
       sum(gpu_limited_seconds) / 3600 AS gpu_hours,
       avg(first_evidence_ratio) AS first_ratio, avg(second_evidence_ratio) AS second_ratio,
       avg(third_evidence_ratio) AS third_ratio,
       avg(confidence_ratio) AS confidence_ratio, mode(runner_up) AS runner_up, mode(idle_cause) AS idle_cause
FROM bottleneck_minute
WHERE cluster = $cluster AND job_id = $job_id AND submitted_at = $submitted_at AND restart_count = $restart_count
  AND ($team = '' OR EXISTS (
      FROM job_usage WHERE job_usage.cluster = $cluster AND job_usage.job_id = $job_id
      AND job_usage.submitted_at = $submitted_at AND job_usage.team = $team))
GROUP BY ALL
ORDER BY gpu_hours DESC, bottleneck, first_evidence, second_evidence, third_evidence
