-- question: Which files of bills does the hub fetch by itself, and what came of each?
-- grain: file
-- params: none
SELECT bill_name, path, delivery, status, message, size_bytes, modified_at, fetched_at
FROM bill_object
ORDER BY fetched_at DESC, bill_name, path
LIMIT 1000
