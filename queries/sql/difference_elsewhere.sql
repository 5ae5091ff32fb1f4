-- question: Which line of an invoice, or which other snapshot of its bill, explains what the invoice differs by?
-- grain: line of the invoice, or import that does not count
-- params: issuer, invoice, start (of the billing period), currency, difference (charged less invoiced), allowed
WITH charges AS (
    SELECT c.import_id, i.source_name, i.status, c.InvoiceDetailId, c.BillingAccountId, c.BilledCost
    FROM focus_charge AS c
    JOIN bill_import AS i ON i.import_id = c.import_id AND i.billing_account_id = c.BillingAccountId
         AND i.billing_period_start = c.BillingPeriodStart AND i.billing_currency = c.BillingCurrency
    WHERE c.InvoiceIssuerName = $issuer AND c.BillingPeriodStart = $start AND c.BillingCurrency = $currency
      AND c.InvoiceId = $invoice
), charged_lines AS (
    SELECT InvoiceDetailId AS line, count(*) AS row_count, sum(BilledCost) AS charged
    FROM charges WHERE status = 'current' GROUP BY ALL
), lines AS (
    SELECT invoice_detail_id AS line, sum(invoiced) AS invoiced
    FROM invoice_line
    WHERE invoice_issuer = $issuer AND invoice_id = $invoice AND billing_period_start = $start
      AND billing_currency = $currency AND lower(coalesce(issue_status, '')) <> 'voided'
    GROUP BY ALL
), snapshots AS (
    SELECT source_name, BillingAccountId, import_id, status, count(*) AS row_count, sum(BilledCost) AS charged
    FROM charges GROUP BY ALL
), changed AS (
    SELECT o.status, o.import_id, o.row_count, o.charged - coalesce(n.charged, 0) AS change_cost
    FROM snapshots AS o
    LEFT JOIN snapshots AS n ON n.status = 'current' AND n.source_name = o.source_name
              AND n.BillingAccountId = o.BillingAccountId
    WHERE o.status <> 'current'
), wanted AS (
    SELECT TRY_CAST($difference AS DECIMAL(38, 18)) AS difference, TRY_CAST($allowed AS DECIMAL(38, 18)) AS allowed
)
SELECT 'line' AS how, 'invoice line' AS kind, coalesce(l.line, c.line, '') AS value,
       coalesce(c.row_count, 0) AS row_count, coalesce(c.charged, 0) - coalesce(l.invoiced, 0) AS billed_cost
FROM lines AS l FULL JOIN charged_lines AS c ON c.line = l.line, wanted
WHERE (SELECT count(*) FROM lines) > 1
  AND abs(coalesce(c.charged, 0) - coalesce(l.invoiced, 0) - difference) <= allowed
UNION ALL
SELECT 'snapshot', status, import_id, row_count, change_cost
FROM changed, wanted WHERE abs(change_cost + difference) <= allowed
ORDER BY how, value
LIMIT 20
