-- question: How far was each way to forecast from what then came?
-- grain: scope, currency, method
-- params: team ('' for all; else its own scope alone)
SELECT scope, billing_currency, method, day_count, error_cost, actual_cost, inside_ratio, is_chosen
FROM forecast_check
WHERE $team = '' OR scope = 'team:' || $team
ORDER BY scope, billing_currency, is_chosen DESC, method
