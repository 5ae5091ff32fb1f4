-- question: What did energy emit day by day?
-- grain: day, group
-- params: start, end, cluster ('' for all), team ('' for all), by (team, model or region)
-- time: days
SELECT day,
       CASE $by WHEN 'team' THEN if(team = '', 'not held', team)
                WHEN 'model' THEN if(model = '', 'not held', model) ELSE if(region = '', 'unknown', region) END AS name,
       sum(carbon_grams) / 1000 AS carbon_kilograms
FROM carbon_day
WHERE day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
  AND ($cluster = '' OR cluster = $cluster) AND ($team = '' OR team = $team)
GROUP BY ALL
HAVING sum(carbon_grams) IS NOT NULL
ORDER BY day, name
