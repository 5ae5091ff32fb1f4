-- question: Which charges stand behind one group of an invoice, the largest first?
-- grain: charge
-- params: issuer, invoice, start (of the billing period), currency, by, name (of the group)
SELECT c.ChargePeriodStart AS charge_period_start, c.ChargePeriodEnd AS charge_period_end,
       c.ChargeCategory AS charge_category, coalesce(c.ChargeClass, '') AS charge_class,
       c.ChargeDescription AS charge_description, c.ServiceName AS service_name, coalesce(c.ResourceId, '') AS resource_id,
       c.SkuId AS sku_id, c.ConsumedQuantity AS consumed_count, c.ConsumedUnit AS consumed_unit,
       c.BilledCost AS billed_cost, c.EffectiveCost AS effective_cost, c.BillingCurrency AS billing_currency,
       c.BillingAccountId AS billing_account_id, c.row_index AS row_index, c.import_id AS import_id, i.path AS path
FROM focus_charge AS c
JOIN bill_import AS i ON i.status = 'current' AND i.import_id = c.import_id
     AND i.billing_account_id = c.BillingAccountId AND i.billing_period_start = c.BillingPeriodStart
     AND i.billing_currency = c.BillingCurrency
WHERE c.InvoiceIssuerName = $issuer AND c.InvoiceId = $invoice AND c.BillingPeriodStart = $start
  AND c.BillingCurrency = $currency
  AND coalesce(CASE $by
                   WHEN 'line' THEN c.InvoiceDetailId
                   WHEN 'service' THEN c.ServiceName
                   WHEN 'category' THEN c.ChargeCategory
                   WHEN 'resource' THEN c.ResourceId
                   WHEN 'account' THEN coalesce(c.SubAccountId, c.BillingAccountId)
                   ELSE CAST(CAST(c.ChargePeriodStart AS DATE) AS VARCHAR)
               END, '') = $name
ORDER BY abs(c.BilledCost) DESC, c.ChargePeriodStart, c.row_index
LIMIT 500
