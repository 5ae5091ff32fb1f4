-- question: Which bills were imported, how far do they reach, and what waits?
-- grain: import, account, period, currency
-- params: none
WITH counting AS (
    SELECT source_name, billing_account_id, billing_period_start, billing_currency, min(import_id) AS current_import_id
    FROM bill_import WHERE status = 'current' GROUP BY ALL
)
SELECT imported_at, status, source_name, format, version, provider, billing_account_id, billing_period_start,
       billing_currency, row_count, rejected_count, billed_cost, effective_cost, residue, control_cost,
       naive_instant_count, normalised_count, complete_through, path, import_id, sha256,
       CASE status WHEN 'waiting' THEN current_import_id ELSE supersedes_import_id END AS before_import_id
FROM bill_import
LEFT JOIN counting USING (source_name, billing_account_id, billing_period_start, billing_currency)
ORDER BY imported_at DESC, billing_period_start DESC
LIMIT 1000
