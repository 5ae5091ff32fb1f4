-- question: Which usage of commitments and of reserved capacity has a billed and an amortised cost of 0?
-- grain: charge
-- params: none
SELECT focus_charge.* EXCLUDE (import_id, row_index),
       lower(coalesce(CommitmentDiscountId, CapacityReservationId)) AS commitment_id
FROM focus_charge
JOIN bill_import ON bill_import.import_id = focus_charge.import_id
    AND billing_account_id = BillingAccountId AND billing_period_start = BillingPeriodStart
    AND billing_currency = BillingCurrency
WHERE status = 'current' AND NOT is_derived AND ChargeCategory = 'Usage' AND ChargeClass IS NULL
  AND coalesce(CommitmentDiscountId, CapacityReservationId) IS NOT NULL AND BilledCost = 0 AND EffectiveCost = 0
ORDER BY commitment_id, ChargePeriodStart, ResourceId
