-- question: Which usage at standard prices could a commitment cover, and how much of it runs around the clock?
-- grain: provider, region, instance type, currency
-- params: start, end
-- time: days
-- Whole UTC days of which at least half lies in the stretch. Steady is the cheapest hour of all days that the
-- provider's bill covers from end to end: its first and its last day do not count, and a day without usage costs 0.
WITH days AS (
    SELECT * FROM commitment_day
    WHERE in_scope AND day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
), reach AS (
    SELECT provider, min(day) AS first_day, max(day) AS last_day FROM commitment_day
    WHERE used_cost IS NOT NULL OR unused_cost IS NOT NULL OR on_demand_cost IS NOT NULL
    GROUP BY ALL
), billed AS (
    SELECT provider, count(DISTINCT day) AS whole_day_count
    FROM days JOIN reach USING (provider)
    WHERE day > first_day AND day < last_day
    GROUP BY ALL
), used AS (
    SELECT provider, region, instance_type, billing_currency, sum(on_demand_cost) AS on_demand_cost,
           sum(on_demand_list_cost) AS on_demand_list_cost,
           -- Where no commitment covers anything, it covers nothing; where the list price is unknown, so is this.
           CASE WHEN bool_or(commitment_id <> '') THEN sum(covered_list_cost) ELSE 0::DECIMAL(38, 18) END
               AS covered_list_cost
    FROM days
    GROUP BY ALL
), hourly AS (
    SELECT provider, day, region, instance_type, billing_currency, sum(lowest_hour_cost) AS lowest_hour_cost
    FROM days JOIN reach USING (provider)
    WHERE commitment_id = '' AND day > first_day AND day < last_day
    GROUP BY ALL
), steady AS (
    SELECT provider, region, instance_type, billing_currency, count(*) AS used_day_count,
           min(lowest_hour_cost) AS lowest_cost
    FROM hourly
    GROUP BY ALL
)
SELECT used.*,
       CASE WHEN on_demand_list_cost IS NOT NULL OR covered_list_cost <> 0
            THEN coalesce(on_demand_list_cost, 0::DECIMAL(38, 18)) + coalesce(covered_list_cost, 0::DECIMAL(38, 18))
            END AS eligible_list_cost,
       CASE WHEN whole_day_count IS NULL THEN NULL
            WHEN coalesce(used_day_count, 0) < whole_day_count THEN 0::DECIMAL(38, 18)
            ELSE lowest_cost END AS steady_hour_cost
FROM used
LEFT JOIN billed USING (provider)
LEFT JOIN steady USING (provider, region, instance_type, billing_currency)
WHERE on_demand_cost IS NOT NULL OR covered_list_cost <> 0
ORDER BY steady_hour_cost DESC NULLS LAST, on_demand_cost DESC NULLS LAST, instance_type
