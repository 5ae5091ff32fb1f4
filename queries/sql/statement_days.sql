-- question: On which days lies cost that is used in a month, or billed in it?
-- grain: day
-- params: start, end
-- time: days
SELECT day, count(*) AS row_count
FROM spend_day
WHERE (day >= CAST($start AS DATE) AND day < CAST($end AS DATE))
   OR (billing_period_start >= $start AND billing_period_start < $end)
GROUP BY ALL
ORDER BY day
