-- question: What did each scope that can have a budget spend, day by day?
-- grain: day, scope, currency
-- params: start, end, team ('' for all; else its own scope alone)
-- time: days
-- Whole UTC days; effective cost of the AI estate, estimates included; of it what is usage, which forecasts are of.
SELECT day, billing_currency,
       CASE WHEN grouping(team) = 0 THEN 'team:' || team
            WHEN grouping(model) = 0 THEN 'model:' || model
            WHEN grouping(provider) = 0 THEN 'provider:' || provider
            ELSE 'total' END AS scope,
       sum(effective_cost) AS cost,
       sum(effective_cost) FILTER (WHERE charge_category = 'Usage') AS usage_cost, bool_or(is_estimated) AS has_estimate
FROM spend_day
WHERE day >= CAST($start AS DATE) AND day < CAST($end AS DATE) AND in_scope AND ($team = '' OR team = $team)
GROUP BY GROUPING SETS ((day, billing_currency), (day, billing_currency, team), (day, billing_currency, model),
                        (day, billing_currency, provider))
HAVING ($team = '' OR grouping(team) = 0) AND (grouping(team) = 1 OR team <> '') AND (grouping(model) = 1 OR model <> '')
ORDER BY day, scope, billing_currency
