-- question: By how much does one import of a bill differ from the one before it?
-- grain: change (added, removed, changed), currency
-- params: new, old (import ids; '' for none), account, start (of the billing period)
WITH sums AS (
    SELECT BillingCurrency AS billing_currency, SubAccountId, ChargePeriodStart, ChargePeriodEnd, ChargeCategory,
           ChargeClass, ServiceName, ResourceId, SkuId, CommitmentDiscountStatus, ChargeDescription,
           count(*) FILTER (import_id = $old) AS rows_before, count(*) FILTER (import_id = $new) AS rows_now,
           coalesce(sum(BilledCost) FILTER (import_id = $old), 0) AS billed_before_cost,
           coalesce(sum(BilledCost) FILTER (import_id = $new), 0) AS billed_cost,
           sum(EffectiveCost) FILTER (import_id = $old) AS effective_before_cost,
           sum(EffectiveCost) FILTER (import_id = $new) AS effective_cost
    FROM focus_charge
    WHERE import_id IN ($new, $old) AND BillingAccountId = $account AND BillingPeriodStart = $start
    GROUP BY ALL
)
SELECT CASE WHEN rows_before = 0 THEN 'added' WHEN rows_now = 0 THEN 'removed'
            WHEN rows_before = rows_now AND billed_cost = billed_before_cost
                 AND effective_cost IS NOT DISTINCT FROM effective_before_cost THEN 'same'
            ELSE 'changed' END AS change,
       billing_currency, count(*) AS charge_count, sum(billed_before_cost) AS billed_before_cost,
       sum(billed_cost) AS billed_cost, sum(billed_cost) - sum(billed_before_cost) AS billed_change_cost,
       sum(effective_before_cost) AS effective_before_cost, sum(effective_cost) AS effective_cost,
       coalesce(sum(effective_cost), 0) - coalesce(sum(effective_before_cost), 0) AS effective_change_cost
FROM sums
GROUP BY ALL
ORDER BY change, billing_currency
