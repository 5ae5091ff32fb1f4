-- question: What does an hour of each server with accelerators cost by the newest price list of a day?
-- grain: provider, region, instance type, price category, currency
-- params: end
-- Where a list leaves out the accelerators of a type, they are those of our own servers of that type.
WITH known AS (
    SELECT lower(provider) AS provider_key, instance_type, max(node.gpu_count) AS gpu_count,
           max(gpu_model) AS gpu_model, max(memory_total_bytes) AS gpu_memory_bytes
    FROM node
    JOIN (SELECT cluster, node, max(gpu_model) AS gpu_model, max(memory_total_bytes) AS memory_total_bytes
          FROM gpu WHERE parent_gpu_uuid = '' GROUP BY ALL) USING (cluster, node)
    WHERE provider IS NOT NULL AND instance_type IS NOT NULL
    GROUP BY ALL
), newest AS (
    SELECT * FROM price
    WHERE valid_start < $end AND lower(coalesce(pricing_unit, 'hours')) LIKE 'hour%'
    QUALIFY row_number() OVER (
        PARTITION BY provider, region, instance_type, price_category, billing_currency ORDER BY valid_start DESC) = 1
)
SELECT newest.provider, region, newest.instance_type, price_category, billing_currency, unit_price,
       CAST(valid_start AS DATE) AS priced_on, coalesce(source, '') AS source,
       coalesce(newest.gpu_model, known.gpu_model) AS gpu_model,
       coalesce(newest.gpu_count, known.gpu_count) AS gpu_count,
       coalesce(newest.gpu_memory_bytes, known.gpu_memory_bytes) AS gpu_memory_bytes
FROM newest
LEFT JOIN known ON lower(newest.provider) = provider_key AND newest.instance_type = known.instance_type
ORDER BY newest.provider, region, newest.instance_type, price_category, billing_currency
