-- question: Of which stretches did a source answer only a part, as often as it was asked?
-- grain: source, stretch
-- params: start, end
-- time: hours
SELECT source_name, cluster, gap_start, gap_end, asked_count, message, kept_at
FROM source_gap
WHERE gap_end > $start AND coalesce(gap_start, gap_end) < $end
ORDER BY gap_end DESC, source_name
LIMIT 500
