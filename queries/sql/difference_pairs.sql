-- question: Which two groups of charges, told apart in the same way, together sum to what an invoice differs by?
-- grain: what tells the charges apart, its two values
-- params: issuer, invoice, start (of the billing period), currency, difference (charged less invoiced), allowed
WITH charges AS MATERIALIZED (
    SELECT c.import_id, c.row_index, c.BilledCost, c.ChargeCategory, c.ServiceName, c.ResourceId,
           CAST(CAST(c.ChargePeriodStart AS DATE) AS VARCHAR) AS day,
           CASE WHEN c.ChargePeriodEnd - c.ChargePeriodStart < INTERVAL 1 DAY
                THEN strftime(c.ChargePeriodStart, '%Y-%m-%d %H:%M') ELSE day END AS since
    FROM focus_charge AS c
    WHERE c.InvoiceIssuerName = $issuer AND c.InvoiceId = $invoice AND c.BillingPeriodStart = $start
      AND c.BillingCurrency = $currency
      AND EXISTS (SELECT 1 FROM bill_import AS i WHERE i.status = 'current' AND i.import_id = c.import_id
                  AND i.billing_account_id = c.BillingAccountId AND i.billing_period_start = c.BillingPeriodStart
                  AND i.billing_currency = c.BillingCurrency)
), sums AS (
    SELECT 'service' AS kind, ServiceName AS value, count(*) AS row_count, sum(BilledCost) AS billed_cost
    FROM charges WHERE ServiceName IS NOT NULL GROUP BY ALL
    UNION ALL
    SELECT 'resource', ResourceId, count(*), sum(BilledCost) FROM charges WHERE ResourceId IS NOT NULL GROUP BY ALL
    UNION ALL
    SELECT 'day', day, count(*), sum(BilledCost) FROM charges GROUP BY ALL
    UNION ALL
    SELECT 'category', ChargeCategory, count(*), sum(BilledCost) FROM charges GROUP BY ALL
    UNION ALL
    SELECT 'charge', concat_ws(', ', ChargeCategory, ServiceName, ResourceId, since) || ' (row ' || row_index || ')', 1,
           BilledCost
    FROM charges WHERE (SELECT count(*) FROM charges) <= 300
), wanted AS (
    SELECT TRY_CAST($difference AS DECIMAL(38, 18)) AS difference, TRY_CAST($allowed AS DECIMAL(38, 18)) AS allowed
), near AS (
    SELECT kind, value, row_count, billed_cost, difference, allowed,
           CAST(floor(billed_cost / (2 * allowed)) AS HUGEINT) AS place,
           CAST(floor((difference - billed_cost) / (2 * allowed)) AS HUGEINT) AS wanted_place
    -- Of many groups some two sum to anything: that would explain nothing.
    FROM (SELECT *, count(*) OVER (PARTITION BY kind) AS group_count FROM sums WHERE billed_cost <> 0), wanted
    WHERE group_count <= 300
)
SELECT a.kind AS kind, a.value || ' and ' || b.value AS value, a.row_count + b.row_count AS row_count,
       a.billed_cost + b.billed_cost AS billed_cost
FROM near AS a
JOIN (SELECT *, unnest([place - 1, place, place + 1]) AS key FROM near) AS b
  ON a.kind = b.kind AND a.wanted_place = b.key AND a.value < b.value
WHERE abs(a.billed_cost + b.billed_cost - a.difference) <= a.allowed
ORDER BY kind, value
LIMIT 20
