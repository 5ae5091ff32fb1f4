-- question: Which usage has no cost, since no rate is known for it, and why?
-- grain: provider, SKU, unit, currency, reason
-- params: start, end
-- time: hours
-- Usage that came without cost, of bills that count; a rate in another currency is none.
SELECT c.ServiceProviderName AS provider, coalesce(c.SkuId, '') AS sku, coalesce(c.ConsumedUnit, '') AS unit,
       c.BillingCurrency AS billing_currency, c.unknown_reason AS reason, sum(c.ConsumedQuantity) AS quantity,
       count(*) AS charge_count, min(c.ChargePeriodStart) AS first_start, max(c.ChargePeriodEnd) AS last_end
FROM focus_charge AS c
JOIN bill_import AS i ON i.status = 'current' AND i.import_id = c.import_id
     AND i.billing_account_id = c.BillingAccountId AND i.billing_period_start = c.BillingPeriodStart
     AND i.billing_currency = c.BillingCurrency
WHERE c.is_derived AND c.EffectiveCost IS NULL AND c.ChargeCategory = 'Usage'
  AND c.ChargePeriodStart < $end AND c.ChargePeriodEnd > $start
GROUP BY ALL
ORDER BY charge_count DESC, provider, sku, unit, billing_currency
LIMIT 1000
