-- question: What did each piece of owned hardware cost on each day, and how much of that did nobody use?
-- grain: day, asset, currency
-- params: start, end
-- time: hours
SELECT CAST(hour_start AS DATE) AS day, asset_id, owner, allocation_hour.billing_currency,
       sum(effective_cost) AS effective_cost,
       sum(CASE WHEN bucket <> 'allocated' THEN effective_cost ELSE 0::DECIMAL(38, 18) END) AS unheld_cost
FROM allocation_hour JOIN asset ON provider = owner AND resource_id = lower(asset_id)
WHERE hour_start >= $start AND hour_start < $end
GROUP BY ALL
ORDER BY day, asset_id, allocation_hour.billing_currency
