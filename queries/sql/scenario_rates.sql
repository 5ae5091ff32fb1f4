-- question: What was an hour of each kind of rented server billed at most often, on demand, on spot and committed?
-- grain: provider, region, instance type, price category, currency
-- params: start, end, cluster ('' for all)
-- time: hours
-- Whole hours agree to the last digit, so that the most frequent cost of an hour is the price of one.
WITH spot AS (
    SELECT DISTINCT lower(ResourceId) AS resource_id FROM focus_charge
    WHERE PricingCategory = 'Dynamic' AND BillingPeriodStart >= $start - INTERVAL 31 DAY AND BillingPeriodStart < $end
), hourly AS (
    SELECT hour_start, cluster, node, billing_currency,
           CASE WHEN commitment_status = 'Used' THEN 'committed'
                WHEN resource_id IN (SELECT resource_id FROM spot WHERE resource_id IS NOT NULL) THEN 'spot'
                ELSE 'on_demand' END AS price_category,
           sum(effective_cost) AS hour_cost
    FROM cost_hour
    WHERE hour_start >= $start AND hour_start < $end AND node <> '' AND charge_category = 'Usage' AND charge_class = ''
      AND cost_kind = 'usage' AND commitment_status <> 'Unused' AND NOT is_estimated AND effective_cost IS NOT NULL
      AND provider NOT IN (SELECT owner FROM asset) AND ($cluster = '' OR cluster = $cluster)
    GROUP BY ALL
), typed AS (
    SELECT hourly.*, node.provider, node.region, node.instance_type, node.gpu_count,
           count(*) OVER (PARTITION BY node.provider, node.region, node.instance_type, hourly.price_category,
                          hourly.billing_currency, hourly.hour_cost) AS same_count
    FROM hourly
    ASOF JOIN node
        ON hourly.cluster = node.cluster AND hourly.node = node.node
        AND hourly.hour_start + INTERVAL 1 HOUR > node.exists_start
    WHERE node.instance_type IS NOT NULL AND node.gpu_count > 0
)
SELECT provider, coalesce(region, '') AS region, instance_type, price_category, billing_currency,
       arg_max(hour_cost, (same_count, hour_start)) AS unit_price,
       max(same_count) AS priced_hour_count, count(*) AS hour_count, max(gpu_count) AS gpu_count,
       CAST(max(hour_start) AS DATE) AS priced_on
FROM typed
GROUP BY ALL
HAVING unit_price > 0
ORDER BY provider, region, instance_type, price_category, billing_currency
