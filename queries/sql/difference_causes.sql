-- question: Which charges of a bill, told apart in one way, sum to what an invoice differs by?
-- grain: how it explains the difference (lacks, twice, copies, other), what tells the charges apart, its value
-- params: issuer, invoice, start (of the billing period), currency, difference (charged less invoiced), allowed
WITH counting AS (
    SELECT c.import_id, c.row_index, c.InvoiceId = $invoice AS is_mine, c.BilledCost, c.InvoiceId, c.InvoiceDetailId,
           c.ChargeCategory, c.ChargeClass, c.ChargeDescription, c.ServiceName, c.ServiceProviderName, c.ResourceId,
           c.BillingAccountId, c.SubAccountId, c.SkuId, c.RegionId,
           CAST(CAST(c.ChargePeriodStart AS DATE) AS VARCHAR) AS day,
           count(*) OVER same AS copy_count, row_number() OVER (same ORDER BY c.import_id, c.row_index) AS copy_index
    FROM focus_charge AS c
    WHERE c.InvoiceIssuerName = $issuer AND c.BillingPeriodStart = $start AND c.BillingCurrency = $currency
      AND EXISTS (SELECT 1 FROM bill_import AS i WHERE i.status = 'current' AND i.import_id = c.import_id
                  AND i.billing_account_id = c.BillingAccountId AND i.billing_period_start = c.BillingPeriodStart
                  AND i.billing_currency = c.BillingCurrency)
    WINDOW same AS (PARTITION BY c.InvoiceId, c.BillingAccountId, c.SubAccountId, c.ChargePeriodStart,
                    c.ChargePeriodEnd, c.ChargeCategory, c.ChargeClass, c.ServiceName, c.ResourceId, c.SkuId,
                    c.BilledCost, c.ConsumedQuantity, c.ChargeDescription, c.Tags)
), named AS (
    SELECT *, unnest([
        {'kind': 'charge', 'value': concat_ws(', ', ChargeCategory, ServiceName, ResourceId, day)},
        {'kind': 'invoice line', 'value': InvoiceDetailId},
        {'kind': 'class', 'value': ChargeClass},
        {'kind': 'category', 'value': ChargeCategory},
        {'kind': 'provider', 'value': ServiceProviderName},
        {'kind': 'account', 'value': BillingAccountId},
        {'kind': 'sub-account', 'value': SubAccountId},
        {'kind': 'service', 'value': ServiceName},
        {'kind': 'resource', 'value': ResourceId},
        {'kind': 'SKU', 'value': SkuId},
        {'kind': 'region', 'value': RegionId},
        {'kind': 'day', 'value': day},
        {'kind': 'service and day', 'value': ServiceName || ' on ' || day},
        {'kind': 'service and category', 'value': ServiceName || ', ' || ChargeCategory},
        {'kind': 'invoice', 'value': CASE WHEN InvoiceId = '' THEN 'none' ELSE InvoiceId END}
    ]) AS told
    FROM counting
), sums AS (
    SELECT told.kind AS kind, told.value AS value, is_mine, InvoiceId AS invoice_id, count(*) AS row_count,
           sum(BilledCost) AS billed_cost, bit_xor(hash(import_id, row_index)) AS rows_code,
           coalesce(sum(BilledCost) FILTER (copy_index > 1), 0) AS copies_cost,
           count(*) FILTER (copy_index > 1) AS copy_count
    FROM named
    WHERE told.value IS NOT NULL
    GROUP BY told.kind, told.value, is_mine, InvoiceId,
             CASE WHEN told.kind = 'charge' THEN {'id': import_id, 'row': row_index} END
), wanted AS (
    SELECT TRY_CAST($difference AS DECIMAL(38, 18)) AS difference, TRY_CAST($allowed AS DECIMAL(38, 18)) AS allowed
), found AS (
    SELECT 'lacks' AS how, kind, value, invoice_id, row_count, billed_cost, rows_code
    FROM sums, wanted WHERE is_mine AND abs(billed_cost - difference) <= allowed
    UNION ALL
    SELECT 'twice', kind, value, invoice_id, row_count, billed_cost, rows_code
    FROM sums, wanted WHERE is_mine AND abs(billed_cost + difference) <= allowed
    UNION ALL
    SELECT 'copies', kind, value, invoice_id, copy_count, copies_cost, rows_code
    FROM sums, wanted
    WHERE is_mine AND kind <> 'charge' AND copies_cost <> 0 AND abs(copies_cost - difference) <= allowed
    UNION ALL
    SELECT 'other', kind, value, invoice_id, row_count, billed_cost, rows_code
    FROM sums, wanted WHERE NOT is_mine AND abs(billed_cost + difference) <= allowed
)
SELECT how, kind, value, invoice_id, row_count, billed_cost, CAST(rows_code AS VARCHAR) AS rows_code
FROM found
ORDER BY how, kind, value
LIMIT 200
