-- question: Which rows of these files were refused, where, and why, the newest first?
-- grain: refused row
-- params: sources (names of files, each with a line feed behind it)
SELECT source, table_name, reason, row_json, rejected_at
FROM rejected_row
WHERE contains($sources, source || chr(10))
ORDER BY date_trunc('minute', rejected_at) DESC, source, length(reason), reason
LIMIT 1000
