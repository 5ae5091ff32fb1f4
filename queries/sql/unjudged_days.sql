-- question: On which days does nobody say what some usage of a scope cost, so that none of them is called unusual?
-- grain: day, currency
-- params: start, end, team ('' for all; else what the team held or owns)
-- time: days
SELECT day, billing_currency, count(DISTINCT provider) AS provider_count
FROM spend_day
WHERE charge_category = 'Usage' AND in_scope AND (has_unstated_charge OR effective_cost IS NULL)
  AND day >= CAST($start AS DATE) AND day < CAST($end AS DATE) AND ($team = '' OR team = $team)
GROUP BY ALL
ORDER BY day, billing_currency
