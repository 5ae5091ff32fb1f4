-- question: Which months of one team's statements are closed, since when and by whom?
-- grain: month
-- params: team
SELECT month, min(closed_at) AS closed_at, arg_min(closed_by, closed_at) AS closed_by,
       arg_min(split_rule, closed_at) AS split_rule, arg_min(shared_cost_rule, closed_at) AS shared_cost
FROM statement_close
WHERE team = $team OR team = ''
GROUP BY ALL
ORDER BY month
