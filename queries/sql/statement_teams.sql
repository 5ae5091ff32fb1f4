-- question: Which teams were charged in a month?
-- grain: team
-- params: start, end, team ('' for all)
SELECT team, count(DISTINCT billing_currency) AS currency_count
FROM spend_day
WHERE team <> '' AND ($team = '' OR team = $team) AND day >= CAST($start AS DATE) AND day < CAST($end AS DATE)
GROUP BY ALL
ORDER BY team
