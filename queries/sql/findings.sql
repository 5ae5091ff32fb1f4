-- question: What should be changed, what does it save, and what was decided about it?
-- grain: finding
-- params: now, cluster ('' for all), team ('' for all)
-- A snooze that is over counts no more.
SELECT finding.* REPLACE (
           CASE WHEN coalesce(counts, false) THEN decision.status ELSE finding.status END AS status,
           CASE WHEN coalesce(counts, false) THEN decision.decided_by ELSE finding.decided_by END AS decided_by,
           CASE WHEN coalesce(counts, false) THEN decision.snoozed_until ELSE finding.snoozed_until END AS snoozed_until,
           CASE WHEN coalesce(counts, false) THEN decision.reason ELSE finding.reason END AS reason)
FROM finding
LEFT JOIN (
    SELECT *, status <> 'snoozed' OR snoozed_until IS NULL OR snoozed_until > $now AS counts FROM finding_decision
) AS decision USING (finding_id)
WHERE ($cluster = '' OR finding.cluster = $cluster) AND ($team = '' OR finding.team = $team)
ORDER BY finding.saving_effective_month DESC NULLS LAST, finding.freed_gpu_hours_month DESC NULLS LAST,
         finding.finding_id
