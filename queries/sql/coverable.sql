-- question: Which usage at standard prices could a commitment cover on each day, and how much of it runs around the clock?
-- grain: day, provider, region, instance type, currency
-- params: start, end
-- time: days
-- Whole UTC days of which at least half lies in the stretch. Steady is the cheapest hour of all days that the
-- provider's bill covers from end to end: its first and its last day do not count, and a day without usage costs 0. It
-- stands on the last of the days that are as cheap, and is null on the others.
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
    SELECT day, provider, region, instance_type, billing_currency, sum(on_demand_cost) AS on_demand_cost,
           sum(on_demand_list_cost) AS on_demand_list_cost, sum(covered_list_cost) AS known_list_cost,
           bool_or(commitment_id <> '') AS has_commitment
    FROM days
    GROUP BY ALL
), hourly AS (
    SELECT day, provider, region, instance_type, billing_currency, sum(lowest_hour_cost) AS lowest_hour_cost,
           true AS is_whole
    FROM days JOIN reach USING (provider)
    WHERE commitment_id = '' AND day > first_day AND day < last_day
    GROUP BY ALL
), kinds AS (
    SELECT used.* EXCLUDE (known_list_cost, has_commitment), lowest_hour_cost,
           -- Where no commitment covers anything, it covers nothing; where the list price is unknown, so is this.
           CASE WHEN bool_or(has_commitment) OVER kind THEN known_list_cost ELSE 0::DECIMAL(38, 18) END AS covered_list_cost,
           count(is_whole) OVER kind AS used_day_count,
           row_number() OVER (kind ORDER BY lowest_hour_cost NULLS LAST, day DESC) = 1 AS is_cheapest
    FROM used LEFT JOIN hourly USING (day, provider, region, instance_type, billing_currency)
    WINDOW kind AS (PARTITION BY provider, region, instance_type, billing_currency)
)
SELECT day, provider, region, instance_type, billing_currency, on_demand_cost, covered_list_cost,
       CASE WHEN on_demand_list_cost IS NOT NULL OR covered_list_cost <> 0
            THEN coalesce(on_demand_list_cost, 0::DECIMAL(38, 18)) + coalesce(covered_list_cost, 0::DECIMAL(38, 18))
            END AS eligible_list_cost,
       CASE WHEN NOT is_cheapest OR whole_day_count IS NULL THEN NULL
            WHEN used_day_count < whole_day_count THEN 0::DECIMAL(38, 18)
            ELSE lowest_hour_cost END AS steady_hour_cost
FROM kinds LEFT JOIN billed USING (provider)
WINDOW kind AS (PARTITION BY provider, region, instance_type, billing_currency)
QUALIFY count(on_demand_cost) OVER kind > 0 OR sum(covered_list_cost) OVER kind <> 0
ORDER BY day, on_demand_cost DESC NULLS LAST, provider, region, instance_type, billing_currency
