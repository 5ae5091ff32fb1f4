-- question: What do models of managed services cost, as the bills name them?
-- grain: provider, service, model, direction of the tokens, unit, currency
-- params: start, end, team ('' for all; bills do not say which team's they are)
SELECT ServiceProviderName AS provider, ServiceName AS service_name,
       regexp_extract(SkuPriceDetails, '"ModelId": ?"([^"]+)"', 1) AS model,
       regexp_extract(SkuPriceDetails, '"TokenDirection": ?"([^"]+)"', 1) AS token_direction,
       ConsumedUnit AS unit, BillingCurrency AS billing_currency,
       sum(BilledCost) AS billed_cost, sum(EffectiveCost) AS effective_cost, sum(ConsumedQuantity) AS quantity
FROM focus_charge
JOIN bill_import ON bill_import.import_id = focus_charge.import_id
    AND billing_account_id = BillingAccountId AND billing_period_start = BillingPeriodStart
    AND billing_currency = BillingCurrency
WHERE status = 'current' AND $team = '' AND ChargePeriodStart >= $start AND ChargePeriodStart < $end
  AND SkuPriceDetails LIKE '%"ModelId"%'
GROUP BY ALL
ORDER BY effective_cost DESC NULLS LAST, model, token_direction
