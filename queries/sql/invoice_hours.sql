-- question: In which hours, on which devices, did one holder have its part of a resource's cost of an invoice?
-- grain: hour, node, device, state
-- params: issuer, invoice, start (of the billing period), currency, resource ('' for none), service, category, holder (its team), job (its id), submitted (when it was submitted), bucket, node
-- with: devices
SELECT hour_start, node, coalesce(gpu, '') AS gpu, state, sum(held_gpu_seconds) / 3600 AS held_gpu_hours,
       sum(billed_cost) AS billed_cost, sum(effective_cost) AS effective_cost, billing_currency
FROM allocation_hour LEFT JOIN devices USING (cluster, node, gpu_uuid)
WHERE invoice_issuer = $issuer AND invoice_id = $invoice AND billing_period_start = $start
  AND billing_currency = $currency AND NOT is_estimated AND resource_id = lower($resource)
  AND charge_category = $category AND ($resource <> '' OR coalesce(service_name, '') = $service)
  AND team = $holder AND job_id = $job AND submitted_at = $submitted AND bucket = $bucket AND node = $node
GROUP BY ALL
ORDER BY hour_start, node, gpu, state
LIMIT 1000
