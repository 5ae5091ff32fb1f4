-- question: Which bills were imported, how far do they reach, and what waits?
-- grain: import, account, period, currency
-- params: none
SELECT imported_at, status, source_name, format, version, provider, billing_account_id, billing_period_start,
       billing_currency, row_count, rejected_count, billed_cost, effective_cost, residue, control_cost,
       naive_instant_count, normalised_count, complete_through, path
FROM bill_import
ORDER BY imported_at DESC, billing_period_start DESC
LIMIT 1000
