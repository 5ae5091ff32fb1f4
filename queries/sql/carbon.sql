-- question: How much energy did each model, team, region or job use, and what did making it emit?
-- grain: group
-- params: start, end, cluster ('' for all), team ('' for all), by (team, model, region or job)
-- time: days
-- Whole UTC days of which at least half lies in the stretch. A group of which a part is unknown says what is known of it;
-- what share of the device time that is, stands beside it.
SELECT CASE $by WHEN 'team' THEN if(team = '', 'not held', team) WHEN 'model' THEN if(model = '', 'not held', model)
                WHEN 'job' THEN job_id ELSE if(region = '', 'unknown', region) END AS name,
       CASE WHEN $by = 'job' THEN cluster ELSE '' END AS of_cluster,
       CASE WHEN $by = 'job' THEN submitted_at END AS submitted_at,
       sum(energy_joules) AS energy_joules, sum(site_joules) AS site_joules, sum(carbon_grams) AS carbon_grams,
       sum(energy_joules) / 3600000 AS kilowatt_hours, sum(carbon_grams) / 1000 AS carbon_kilograms,
       CAST(sum(total_gpu_seconds) AS DOUBLE) AS total_gpu_seconds, sum(known_gpu_seconds) AS known_gpu_seconds,
       sum(node_known_gpu_seconds) AS node_known_gpu_seconds,
       sum(CASE WHEN carbon_grams IS NOT NULL THEN known_gpu_seconds ELSE 0 END) AS priced_gpu_seconds,
       sum(CASE WHEN carbon_grams IS NOT NULL THEN site_joules END) AS priced_site_joules,
       string_agg(DISTINCT grid_source, '; ' ORDER BY grid_source) AS grid_sources
FROM carbon_day
WHERE day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
  AND ($cluster = '' OR cluster = $cluster) AND ($team = '' OR team = $team)
  AND ($by <> 'job' OR job_id <> '')
GROUP BY ALL
ORDER BY carbon_grams DESC NULLS LAST, energy_joules DESC NULLS LAST, name
LIMIT 1000
