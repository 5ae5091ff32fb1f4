-- question: What did the estate cost, day by day, told apart by team, model, provider, resource, bucket or service?
-- grain: day, currency, name
-- params: start, end, cluster ('' for all), team ('' for all), by, measure ('billed' or 'effective'), estate ('in' scope or 'all')
-- time: hours
-- with: spent
-- Of each currency the 200 names with the largest cost stand alone; what is left is called other.
WITH days AS (
    SELECT day, billing_currency,
           CASE $by
               WHEN 'team' THEN CASE WHEN team = '' THEN bucket ELSE team END
               WHEN 'model' THEN CASE WHEN model = '' THEN bucket ELSE model END
               WHEN 'provider' THEN provider
               WHEN 'resource' THEN CASE WHEN node <> '' THEN node WHEN resource_id <> '' THEN resource_id ELSE charge_category END
               WHEN 'service' THEN CASE WHEN service_name = '' THEN charge_category ELSE service_name END
               WHEN 'category' THEN charge_category
               WHEN 'kind' THEN cost_kind
               WHEN 'state' THEN CASE WHEN state = '' THEN bucket ELSE state END
               ELSE bucket
           END AS name,
           sum(CASE $measure WHEN 'billed' THEN billed_cost ELSE effective_cost END) AS cost,
           bool_or(is_estimated) AS has_estimate
    FROM spent
    WHERE ($cluster = '' OR cluster = $cluster) AND ($team = '' OR team = $team) AND ($estate = 'all' OR in_scope)
    GROUP BY ALL
), ranked AS (
    SELECT billing_currency, name,
           row_number() OVER (PARTITION BY billing_currency ORDER BY abs(sum(cost)) DESC NULLS LAST, name) AS place
    FROM days
    GROUP BY billing_currency, name
)
SELECT day, billing_currency, CASE WHEN place <= 200 THEN name ELSE 'other' END AS name, sum(cost) AS cost,
       bool_or(has_estimate) AS has_estimate
FROM days JOIN ranked USING (billing_currency, name)
GROUP BY ALL
ORDER BY day, cost DESC, name
