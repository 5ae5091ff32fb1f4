-- question: Which charges were invoiced in another month than the one in which they were incurred, or correct others?
-- grain: issuer, invoice, month invoiced, month incurred, class, currency
-- params: none
SELECT c.InvoiceIssuerName AS invoice_issuer, c.InvoiceId AS invoice_id, c.BillingPeriodStart AS billing_period_start,
       date_trunc('month', c.ChargePeriodStart) AS incurred_start, coalesce(c.ChargeClass, '') AS charge_class,
       c.BillingCurrency AS billing_currency, count(*) AS charge_count, sum(c.BilledCost) AS billed_cost,
       sum(c.EffectiveCost) AS effective_cost
FROM focus_charge AS c
JOIN bill_import AS i ON i.status = 'current' AND i.import_id = c.import_id
     AND i.billing_account_id = c.BillingAccountId AND i.billing_period_start = c.BillingPeriodStart
     AND i.billing_currency = c.BillingCurrency
WHERE c.ChargeClass = 'Correction' OR c.ChargePeriodStart < c.BillingPeriodStart
   OR c.ChargePeriodStart >= c.BillingPeriodEnd
GROUP BY ALL
ORDER BY c.BillingPeriodStart DESC, incurred_start DESC, invoice_issuer
LIMIT 1000
