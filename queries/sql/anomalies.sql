-- question: On which days did a scope cost far more or less than usual, and why?
-- grain: day, scope, currency
-- params: start, end, team ('' for all; else its own scope alone)
-- time: days
SELECT day, scope, billing_currency, actual_cost, expected_cost, difference_cost, weekday_count, cause, cause_provider,
       cause_resource, cause_team, cause_cost, volume_cost, price_cost
FROM anomaly_day
WHERE day >= CAST($start AS DATE) AND day < CAST($end AS DATE) AND ($team = '' OR team = $team)
ORDER BY day DESC, abs(difference_cost) DESC, scope
