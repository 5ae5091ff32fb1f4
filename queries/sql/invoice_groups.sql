-- question: What does an invoice's bill hold, told apart by invoice line, service, category, resource, day or account?
-- grain: name
-- params: issuer, invoice, start (of the billing period), currency, by
WITH charges AS (
    SELECT CASE $by
               WHEN 'line' THEN c.InvoiceDetailId
               WHEN 'service' THEN c.ServiceName
               WHEN 'category' THEN c.ChargeCategory
               WHEN 'resource' THEN c.ResourceId
               WHEN 'account' THEN coalesce(c.SubAccountId, c.BillingAccountId)
               ELSE CAST(CAST(c.ChargePeriodStart AS DATE) AS VARCHAR)
           END AS told,
           c.BilledCost, c.EffectiveCost
    FROM focus_charge AS c
    WHERE c.InvoiceIssuerName = $issuer AND c.InvoiceId = $invoice AND c.BillingPeriodStart = $start
      AND c.BillingCurrency = $currency
      AND EXISTS (SELECT 1 FROM bill_import AS i WHERE i.status = 'current' AND i.import_id = c.import_id
                  AND i.billing_account_id = c.BillingAccountId AND i.billing_period_start = c.BillingPeriodStart
                  AND i.billing_currency = c.BillingCurrency)
), sums AS (
    SELECT coalesce(told, '') AS name, count(*) AS charge_count, sum(BilledCost) AS billed_cost,
           sum(EffectiveCost) AS effective_cost
    FROM charges GROUP BY ALL
), lines AS (
    SELECT invoice_detail_id AS name, min(description) AS description, sum(invoiced) AS invoiced
    FROM invoice_line
    WHERE $by = 'line' AND invoice_issuer = $issuer AND invoice_id = $invoice AND billing_period_start = $start
      AND billing_currency = $currency AND lower(coalesce(issue_status, '')) <> 'voided'
    GROUP BY ALL
)
SELECT coalesce(s.name, l.name) AS name, l.description AS description, coalesce(s.charge_count, 0) AS charge_count,
       coalesce(s.billed_cost, 0) AS billed_cost, s.effective_cost AS effective_cost, l.invoiced AS invoiced,
       CASE WHEN l.invoiced IS NOT NULL THEN coalesce(s.billed_cost, 0) - l.invoiced END AS difference,
       $currency AS billing_currency
FROM sums AS s FULL JOIN lines AS l ON l.name = s.name
ORDER BY abs(coalesce(s.billed_cost, 0)) DESC, name
LIMIT 1000
