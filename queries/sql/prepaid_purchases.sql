-- question: Which purchases pay for a term whose usage the provider gives no amortised cost?
-- grain: purchase of a commitment or of reserved capacity
-- params: none
-- A provider that amortises gives usage of the term an EffectiveCost; whose usage all says 0, or whose purchase carries
-- the cost itself while nothing was used, does not. Derived rows do not count. Not materialized: all columns of all
-- charges would be copied, which takes a hundred times as long.
WITH charge AS NOT MATERIALIZED (
    SELECT focus_charge.*, lower(coalesce(CommitmentDiscountId, CapacityReservationId)) AS commitment_id
    FROM focus_charge
    JOIN bill_import ON bill_import.import_id = focus_charge.import_id
        AND billing_account_id = BillingAccountId AND billing_period_start = BillingPeriodStart
        AND billing_currency = BillingCurrency
    WHERE status = 'current' AND NOT is_derived
), used AS (
    SELECT commitment_id, BillingCurrency, count(*) AS usage_count,
           bool_and(coalesce(EffectiveCost, 1) = 0 AND BilledCost = 0) AS is_all_zero
    FROM charge
    WHERE commitment_id IS NOT NULL AND ChargeCategory = 'Usage' AND ChargeClass IS NULL
    GROUP BY ALL
), complete AS (
    SELECT BillingAccountId, ServiceProviderName, max(ChargePeriodEnd) AS complete_through
    FROM charge
    WHERE ChargeCategory = 'Usage'
    GROUP BY ALL
)
SELECT charge.* EXCLUDE (import_id, row_index), complete_through
FROM charge
JOIN complete USING (BillingAccountId, ServiceProviderName)
LEFT JOIN used USING (commitment_id, BillingCurrency)
WHERE commitment_id IS NOT NULL AND ChargeCategory = 'Purchase' AND ChargeClass IS NULL AND BilledCost > 0
  AND coalesce(ChargeFrequency, 'One-Time') = 'One-Time' AND ChargePeriodEnd - ChargePeriodStart >= INTERVAL 1 DAY
  AND (coalesce(is_all_zero, false) OR (usage_count IS NULL AND EffectiveCost > 0))
ORDER BY BillingAccountId, ChargePeriodStart, commitment_id, BilledCost
