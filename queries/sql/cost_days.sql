-- question: What did the estate cost, day by day, told apart by team, model, provider, resource, bucket or service?
-- grain: day, currency, name
-- params: start, end, cluster ('' for all), team ('' for all), by, measure ('billed' or 'effective'), estate ('in' scope or 'all')
SELECT CAST(hour_start AS DATE) AS day, billing_currency,
       CASE $by
           WHEN 'team' THEN CASE WHEN team = '' THEN bucket ELSE team END
           WHEN 'model' THEN CASE WHEN model = '' THEN bucket ELSE model END
           WHEN 'provider' THEN provider
           WHEN 'resource' THEN CASE WHEN node <> '' THEN node WHEN resource_id <> '' THEN resource_id ELSE charge_category END
           WHEN 'service' THEN coalesce(service_name, charge_category)
           WHEN 'category' THEN charge_category
           WHEN 'kind' THEN cost_kind
           WHEN 'state' THEN CASE WHEN state = '' THEN bucket ELSE state END
           ELSE bucket
       END AS name,
       sum(CASE $measure WHEN 'billed' THEN billed_cost ELSE effective_cost END) AS cost,
       bool_or(is_estimated) AS has_estimate
FROM allocation_hour
WHERE hour_start >= $start AND hour_start < $end
  AND ($cluster = '' OR cluster = $cluster) AND ($team = '' OR team = $team)
  AND ($estate = 'all' OR in_scope)
GROUP BY ALL
ORDER BY day, cost DESC
