-- question: Which teams have a statement of a month: charged in it, charged on a closed one, or for a closed month?
-- grain: team
-- params: start, end, team ('' for all)
-- time: days
-- Charged for a closed month is also who used or is billed something in it that nobody knew of when it was closed.
SELECT team, count(DISTINCT billing_currency) AS currency_count
FROM (
    SELECT team, billing_currency
    FROM spend_day
    WHERE in_scope
      AND ((day >= CAST($start AS DATE) AND day < CAST($end AS DATE))
           OR (billing_period_start >= $start AND billing_period_start < $end)
           OR EXISTS (SELECT 1 FROM statement_close AS closed
                      WHERE closed.month < CAST($start AS DATE)
                        AND closed.month IN (CAST(date_trunc('month', spend_day.day) AS DATE),
                                             CAST(date_trunc('month', spend_day.billing_period_start) AS DATE))
                        AND closed.team IN ('', spend_day.team)))
    UNION ALL
    SELECT team, billing_currency
    FROM statement_line
    WHERE section = 'charges' AND month <= CAST($start AS DATE)
)
WHERE team <> '' AND ($team = '' OR team = $team)
GROUP BY ALL
ORDER BY team
