-- question: Which purchases pay for a term whose usage the provider gives no amortised cost?
-- grain: purchase of a commitment or of reserved capacity
-- params: none
-- A provider that amortises gives usage of the term an EffectiveCost; whose usage all says 0, or whose purchase carries
-- the cost itself while nothing was used, does not. Derived rows do not count. How far a bill has come is told by usage
-- of a day at most, or that was over when it was delivered: some stands for its whole month from its first days on.
WITH counting AS (
    SELECT import_id, billing_account_id AS BillingAccountId, billing_period_start AS BillingPeriodStart,
           billing_currency AS BillingCurrency, imported_at
    FROM bill_import
    WHERE status = 'current'
), committed AS (
    SELECT import_id, row_index, lower(coalesce(CommitmentDiscountId, CapacityReservationId)) AS commitment_id,
           BillingCurrency, ChargeCategory, ChargeFrequency, BilledCost, EffectiveCost,
           ChargePeriodEnd - ChargePeriodStart AS term
    FROM focus_charge
    JOIN counting USING (import_id, BillingAccountId, BillingPeriodStart, BillingCurrency)
    WHERE coalesce(CommitmentDiscountId, CapacityReservationId) IS NOT NULL AND ChargeClass IS NULL AND NOT is_derived
), used AS (
    SELECT commitment_id, BillingCurrency, count(*) AS usage_count,
           bool_and(coalesce(EffectiveCost, 1) = 0 AND BilledCost = 0) AS is_all_zero
    FROM committed
    WHERE ChargeCategory = 'Usage'
    GROUP BY ALL
), prepaid AS (
    SELECT import_id, row_index, commitment_id
    FROM committed
    LEFT JOIN used USING (commitment_id, BillingCurrency)
    WHERE ChargeCategory = 'Purchase' AND BilledCost > 0 AND coalesce(ChargeFrequency, 'One-Time') = 'One-Time'
      AND term >= INTERVAL 1 DAY
      AND (coalesce(is_all_zero, false) OR (usage_count IS NULL AND EffectiveCost > 0))
), complete AS (
    SELECT BillingAccountId, ServiceProviderName,
           coalesce(max(ChargePeriodEnd) FILTER (WHERE ChargePeriodEnd <= imported_at
                                                OR ChargePeriodEnd - ChargePeriodStart <= INTERVAL 25 HOUR),
                    max(imported_at)) AS complete_through
    FROM focus_charge
    JOIN counting USING (import_id, BillingAccountId, BillingPeriodStart, BillingCurrency)
    WHERE ChargeCategory = 'Usage' AND NOT is_derived AND EXISTS (SELECT 1 FROM prepaid)
    GROUP BY ALL
)
SELECT focus_charge.* EXCLUDE (import_id, row_index), commitment_id, complete_through
FROM focus_charge
JOIN prepaid USING (import_id, row_index)
JOIN complete USING (BillingAccountId, ServiceProviderName)
ORDER BY BillingAccountId, ChargePeriodStart, commitment_id, BilledCost
