-- question: Which charges of a bill, told apart in one way, sum to what an invoice differs by?
-- grain: how it explains the difference (lacks, twice, copies, other), what tells the charges apart, its value
-- params: issuer, invoice, start (of the billing period), currency, difference (charged less invoiced), rounding (of a charge), allowed
WITH charges AS MATERIALIZED (
    SELECT c.InvoiceId = $invoice AS is_mine, c.BilledCost, c.InvoiceId, c.InvoiceDetailId, c.ChargeCategory,
           c.ChargeClass, c.ServiceName, c.ServiceProviderName, c.ResourceId, c.BillingAccountId, c.SubAccountId,
           c.SkuId, c.RegionId, CAST(CAST(c.ChargePeriodStart AS DATE) AS VARCHAR) AS day,
           CASE WHEN c.ChargePeriodEnd - c.ChargePeriodStart < INTERVAL 1 DAY
                THEN strftime(c.ChargePeriodStart, '%Y-%m-%d %H:%M') ELSE day END AS since,
           hash(c.import_id, c.row_index) AS row_code,
           hash(c.InvoiceId, c.BillingAccountId, c.SubAccountId, c.ChargePeriodStart, c.ChargePeriodEnd,
                c.ChargeCategory, c.ChargeClass, c.ServiceName, c.ResourceId, c.SkuId, c.BilledCost,
                c.ConsumedQuantity, c.ChargeDescription, c.Tags) AS twin_code
    FROM focus_charge AS c
    WHERE c.InvoiceIssuerName = $issuer AND c.BillingPeriodStart = $start AND c.BillingCurrency = $currency
      AND EXISTS (SELECT 1 FROM bill_import AS i WHERE i.status = 'current' AND i.import_id = c.import_id
                  AND i.billing_account_id = c.BillingAccountId AND i.billing_period_start = c.BillingPeriodStart
                  AND i.billing_currency = c.BillingCurrency)
), wanted AS (
    SELECT TRY_CAST($difference AS DECIMAL(38, 18)) AS difference, TRY_CAST($allowed AS DECIMAL(38, 18)) AS allowed,
           TRY_CAST($rounding AS DECIMAL(38, 18)) AS rounding
), sums AS (
    SELECT CASE WHEN grouping(ServiceName, day) = 0 THEN 'service and day'
                WHEN grouping(ServiceName, ChargeCategory) = 0 THEN 'service and category'
                WHEN grouping(InvoiceDetailId) = 0 THEN 'invoice line'
                WHEN grouping(ChargeClass) = 0 THEN 'class'
                WHEN grouping(ChargeCategory) = 0 THEN 'category'
                WHEN grouping(ServiceProviderName) = 0 THEN 'provider'
                WHEN grouping(BillingAccountId) = 0 THEN 'account'
                WHEN grouping(SubAccountId) = 0 THEN 'sub-account'
                WHEN grouping(ServiceName) = 0 THEN 'service'
                WHEN grouping(ResourceId) = 0 THEN 'resource'
                WHEN grouping(SkuId) = 0 THEN 'SKU'
                WHEN grouping(RegionId) = 0 THEN 'region'
                WHEN grouping(day) = 0 THEN 'day'
                ELSE 'invoice' END AS kind,
           CASE WHEN grouping(ServiceName, day) = 0 THEN ServiceName || ' on ' || day
                WHEN grouping(ServiceName, ChargeCategory) = 0 THEN ServiceName || ', ' || ChargeCategory
                ELSE coalesce(InvoiceDetailId, ChargeClass, ChargeCategory, ServiceProviderName, BillingAccountId,
                              SubAccountId, ServiceName, ResourceId, SkuId, RegionId, day) END AS told,
           is_mine, InvoiceId AS invoice_id, count(*) AS row_count, sum(BilledCost) AS billed_cost,
           bit_xor(row_code) AS rows_code, bit_xor(twin_code) AS twins_code
    FROM charges
    GROUP BY GROUPING SETS (
        (is_mine, InvoiceId), (is_mine, InvoiceId, InvoiceDetailId), (is_mine, InvoiceId, ChargeClass),
        (is_mine, InvoiceId, ChargeCategory), (is_mine, InvoiceId, ServiceProviderName),
        (is_mine, InvoiceId, BillingAccountId), (is_mine, InvoiceId, SubAccountId), (is_mine, InvoiceId, ServiceName),
        (is_mine, InvoiceId, ResourceId), (is_mine, InvoiceId, SkuId), (is_mine, InvoiceId, RegionId),
        (is_mine, InvoiceId, day), (is_mine, InvoiceId, ServiceName, day),
        (is_mine, InvoiceId, ServiceName, ChargeCategory))
), groups AS (
    SELECT kind, CASE WHEN kind <> 'invoice' THEN told WHEN invoice_id = '' THEN 'none' ELSE invoice_id END AS value,
           is_mine, invoice_id, row_count, billed_cost, rows_code, twins_code
    FROM sums
    UNION ALL
    SELECT 'charge', concat_ws(', ', ChargeCategory, ServiceName, ResourceId, since), is_mine, InvoiceId, 1, BilledCost,
           row_code, twin_code
    FROM charges, wanted
    WHERE abs(BilledCost - difference) <= rounding OR abs(BilledCost + difference) <= rounding
), copies AS (
    SELECT twin_code FROM charges, wanted WHERE is_mine AND abs(BilledCost - difference) <= rounding
    GROUP BY ALL HAVING count(*) > 1
)
SELECT how, kind, value, invoice_id, row_count, billed_cost, CAST(rows_code AS VARCHAR) AS rows_code
FROM (
    SELECT 'lacks' AS how, kind, value, invoice_id, row_count, billed_cost, rows_code
    FROM groups, wanted
    WHERE is_mine AND abs(billed_cost - difference) <= allowed
      AND (kind <> 'charge' OR twins_code NOT IN (SELECT twin_code FROM copies))
    UNION ALL
    SELECT 'twice', kind, value, invoice_id, row_count, billed_cost, rows_code
    FROM groups, wanted WHERE is_mine AND abs(billed_cost + difference) <= allowed
    UNION ALL
    SELECT 'copies', kind, value, invoice_id, row_count // 2, difference, rows_code
    FROM groups, wanted
    WHERE is_mine AND twins_code = 0 AND row_count % 2 = 0 AND abs(billed_cost - 2 * difference) <= 2 * rounding
    UNION ALL
    SELECT 'copies', kind, min(value), min(invoice_id), 1, min(billed_cost), min(rows_code)
    FROM groups WHERE kind = 'charge' AND is_mine AND twins_code IN (SELECT twin_code FROM copies)
    GROUP BY kind, twins_code
    UNION ALL
    SELECT 'other', kind, value, invoice_id, row_count, billed_cost, rows_code
    FROM groups, wanted WHERE NOT is_mine AND abs(billed_cost + difference) <= allowed
)
WHERE value IS NOT NULL
ORDER BY abs(abs(billed_cost) - abs(TRY_CAST($difference AS DECIMAL(38, 18)))), how, kind, value
LIMIT 200
