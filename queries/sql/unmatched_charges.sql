-- question: Which charges of resources belong to no node, in money?
-- grain: provider, service, resource, currency
-- params: start, end
-- time: hours
SELECT provider, service_name, resource_id, billing_currency, in_scope, sum(billed_cost) AS billed_cost,
       sum(effective_cost) AS effective_cost
FROM cost_hour
WHERE hour_start >= $start AND hour_start < $end AND node = '' AND resource_id <> '' AND NOT is_estimated
GROUP BY ALL
ORDER BY abs(sum(effective_cost)) DESC NULLS LAST
LIMIT 1000
