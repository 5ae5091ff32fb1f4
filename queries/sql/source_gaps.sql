-- question: Of which stretches did a source answer only a part, as often as it was asked, and what asks for them again?
-- grain: source, stretch
-- params: start, end
-- time: hours
SELECT
    source_name,
    cluster,
    coalesce(whole_until, gap_start) AS missing_since,
    gap_end,
    asked_count,
    message,
    kept_at,
    concat(
        'clusterledger pull ',
        source_name,
        strftime(coalesce(whole_until, gap_start), ' --since %Y-%m-%dT%H:%M:%SZ'),
        strftime(gap_end, ' --until %Y-%m-%dT%H:%M:%SZ')
    ) AS command
FROM source_gap
WHERE
    gap_end > $start
    AND coalesce(gap_start, gap_end) < $end
    AND whole_until IS DISTINCT FROM gap_end
ORDER BY gap_end DESC, source_name
LIMIT 500
