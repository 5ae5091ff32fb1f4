-- question: What did billing periods bill, told apart in all ways in which pages tell costs apart?
-- grain: billing period, currency, provider, category, commitment status, kind, service, bucket, state, cluster, node, resource, team, model
-- params: start, end, cluster ('' for all), team ('' for all)
-- time: days
-- Billed cost is booked whole, so that no view of it goes below a billing period: `day` is the first of those that begin
-- in the stretch. What is billed of use in earlier months, such as corrections, stands in the period that bills it.
SELECT CAST(billing_period_start AS DATE) AS day, billing_currency, provider, charge_category, commitment_status, cost_kind,
       service_name, bucket, state, cluster, node, resource_id, team, model, is_estimated, in_scope,
       sum(billed_cost) AS billed_cost, sum(effective_cost) AS effective_cost,
       CAST(sum(held_gpu_seconds) AS DECIMAL(28, 9)) AS held_gpu_seconds
FROM spend_day
WHERE CAST(billing_period_start AS DATE) >= CAST($start AS DATE)
  AND CAST(billing_period_start AS DATE) < CAST($end AS DATE)
  AND ($cluster = '' OR cluster = $cluster) AND ($team = '' OR team = $team)
GROUP BY ALL
ORDER BY day, billing_currency, provider, node, resource_id, team, model, state
