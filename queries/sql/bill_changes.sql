-- question: What does one import of a bill say otherwise than the one before it, charge by charge?
-- grain: what a charge is told apart by: account, period, category, class, service, resource, SKU, currency
-- params: new, old (import ids; '' for none), account, start (of the billing period)
WITH charges AS (
    SELECT import_id = $new AS is_new, BillingAccountId AS billing_account_id, SubAccountId AS sub_account_id,
           BillingPeriodStart AS billing_period_start, BillingCurrency AS billing_currency,
           ChargePeriodStart AS charge_period_start, ChargePeriodEnd AS charge_period_end,
           ChargeCategory AS charge_category, ChargeClass AS charge_class, ServiceName AS service_name,
           ResourceId AS resource_id, SkuId AS sku_id,
           CommitmentDiscountStatus AS commitment_status, ChargeDescription AS charge_description, BilledCost,
           EffectiveCost
    FROM focus_charge
    WHERE import_id IN ($new, $old) AND BillingAccountId = $account AND BillingPeriodStart = $start
), sums AS (
    SELECT * EXCLUDE (is_new, BilledCost, EffectiveCost),
           count(*) FILTER (NOT is_new) AS row_count_before, count(*) FILTER (is_new) AS row_count,
           coalesce(sum(BilledCost) FILTER (NOT is_new), 0) AS billed_before_cost,
           coalesce(sum(BilledCost) FILTER (is_new), 0) AS billed_cost,
           sum(EffectiveCost) FILTER (NOT is_new) AS effective_before_cost,
           sum(EffectiveCost) FILTER (is_new) AS effective_cost
    FROM charges
    GROUP BY ALL
)
SELECT CASE WHEN row_count_before = 0 THEN 'added' WHEN row_count = 0 THEN 'removed' ELSE 'changed' END AS change,
       *, billed_cost - billed_before_cost AS billed_change_cost,
       CASE WHEN effective_before_cost IS NOT NULL OR effective_cost IS NOT NULL
            THEN coalesce(effective_cost, 0) - coalesce(effective_before_cost, 0) END AS effective_change_cost
FROM sums
WHERE row_count_before <> row_count OR billed_cost <> billed_before_cost
   OR effective_cost IS DISTINCT FROM effective_before_cost
ORDER BY abs(billed_cost - billed_before_cost) DESC, abs(effective_change_cost) DESC NULLS LAST,
         charge_period_start, service_name, resource_id
LIMIT 1000
