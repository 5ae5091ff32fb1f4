-- question: What is each scope that can have a budget expected to cost, day by day?
-- grain: day, scope, currency
-- params: start, end, team ('' for all; else its own scope alone)
-- time: days
SELECT day, scope, billing_currency, made_on, forecast_cost, lower_cost, upper_cost, method
FROM forecast_day
WHERE day >= CAST($start AS DATE) AND day < CAST($end AS DATE) AND ($team = '' OR scope = 'team:' || $team)
ORDER BY day, scope, billing_currency
