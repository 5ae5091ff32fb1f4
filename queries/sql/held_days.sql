-- question: How much of each node did each team, model, project or user hold on each day?
-- grain: day, cluster, node, name, team
-- params: start, end, by ('model', 'team', 'project' or 'user')
-- time: days
SELECT day, cluster, node,
       CASE $by WHEN 'model' THEN model WHEN 'team' THEN spend.team WHEN 'user' THEN "user"
                ELSE coalesce(nullif(job.account, ''), 'no project') END AS name,
       spend.team, sum(held_gpu_seconds) AS held_gpu_seconds
FROM spend_day AS spend
LEFT JOIN (SELECT cluster, job_id, submitted_at, max(account) AS account FROM job WHERE $by = 'project' GROUP BY ALL) AS job
    USING (cluster, job_id, submitted_at)
WHERE day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
  AND in_scope AND bucket = 'allocated' AND node <> ''
GROUP BY ALL
ORDER BY day, cluster, node, name, team
