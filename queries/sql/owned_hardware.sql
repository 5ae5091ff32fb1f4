-- question: What did each piece of owned hardware cost, how much of that did nobody use, and when is it written off?
-- grain: asset
-- params: start, end
-- time: hours
WITH cost AS (
    SELECT provider, resource_id, billing_currency, sum(effective_cost) AS effective_cost,
           sum(CASE WHEN bucket = 'allocated' THEN effective_cost ELSE 0::DECIMAL(38, 18) END) AS held_cost,
           sum(CASE WHEN bucket <> 'allocated' THEN effective_cost ELSE 0::DECIMAL(38, 18) END) AS unheld_cost
    FROM allocation_hour
    WHERE hour_start >= $start AND hour_start < $end AND provider IN (SELECT DISTINCT owner FROM asset)
      AND resource_id IN (SELECT lower(asset_id) FROM asset)
    GROUP BY ALL
)
SELECT asset_id, asset.cluster, asset.node, owner, gpu_count, life_start, life_end, purchase_cost,
       asset.billing_currency, effective_cost, held_cost, unheld_cost
FROM asset
LEFT JOIN cost ON provider = owner AND resource_id = lower(asset_id) AND cost.billing_currency = asset.billing_currency
ORDER BY unheld_cost DESC NULLS LAST, asset_id
