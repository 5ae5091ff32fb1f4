-- question: To whom was the cost of one resource or service of an invoice allocated, and what did its devices do?
-- grain: holder (team, user, job, model), bucket, state, node
-- params: issuer, invoice, start (of the billing period), currency, resource ('' for none), service, category
SELECT team, user, cluster, node, job_id, submitted_at, restart_count, model, bucket, state,
       allocated_method_id AS split_rule, count(DISTINCT gpu_uuid) FILTER (gpu_uuid <> '') AS gpu_count,
       min(hour_start) AS first_hour, max(hour_start) AS last_hour, sum(held_gpu_seconds) / 3600 AS held_gpu_hours,
       sum(billed_cost) AS billed_cost, sum(effective_cost) AS effective_cost, billing_currency
FROM allocation_hour
WHERE invoice_issuer = $issuer AND invoice_id = $invoice AND billing_period_start = $start
  AND billing_currency = $currency AND NOT is_estimated AND resource_id = lower($resource)
  AND charge_category = $category AND ($resource <> '' OR coalesce(service_name, '') = $service)
GROUP BY ALL
ORDER BY abs(sum(billed_cost)) DESC, team, job_id, state
LIMIT 500
