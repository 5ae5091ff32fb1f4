-- question: What did each volume, bucket and file system cost, and how much of that is known to be somebody's?
-- grain: provider, service, resource, currency
-- params: start, end
-- time: days
-- Whole UTC days; effective cost of storage that belongs to no node, in the AI estate.
SELECT provider, service_name, resource_id, billing_currency, sum(effective_cost) AS effective_cost,
       CASE WHEN count(effective_cost) > 0
            THEN coalesce(sum(effective_cost) FILTER (WHERE team <> ''), 0::DECIMAL(38, 18)) END AS attributed_cost,
       string_agg(DISTINCT team, ', ' ORDER BY team) FILTER (WHERE team <> '') AS teams
FROM spend_day
WHERE cost_kind = 'storage' AND node = '' AND in_scope AND charge_category = 'Usage'
  AND day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
GROUP BY ALL
ORDER BY effective_cost DESC NULLS LAST, provider, service_name, resource_id
LIMIT 1000
