-- question: Which rows were refused, from whom, and why?
-- grain: table, source, reason
-- params: start, end
SELECT table_name, source, reason, count(*) AS row_count, max(rejected_at) AS last_rejected_at,
       any_value(row_json) AS example
FROM rejected_row
WHERE rejected_at >= $start AND rejected_at < $end
GROUP BY ALL
ORDER BY row_count DESC
LIMIT 500
