-- question: Which teams were charged in a month?
-- grain: team
-- params: start, end, team ('' for all)
SELECT DISTINCT team
FROM spend_day
WHERE team <> '' AND ($team = '' OR team = $team) AND day >= CAST($start AS DATE) AND day < CAST($end AS DATE)
ORDER BY team
