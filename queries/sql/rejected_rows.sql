-- question: Which rows were refused, from whom, and why?
-- grain: table, source, fault; the reason is that of its first row
-- params: start, end
-- time: hours
SELECT table_name, source, coalesce(fault, reason) AS fault,
       arg_min(reason, (rejected_at, length(reason), reason)) AS reason, count(*) AS row_count,
       max(rejected_at) AS last_rejected_at, arg_min(row_json, (rejected_at, length(reason), reason)) AS example
FROM rejected_row
WHERE rejected_at >= $start AND rejected_at < $end
GROUP BY table_name, source, coalesce(fault, reason)
ORDER BY row_count DESC
LIMIT 500
