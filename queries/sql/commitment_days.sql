-- question: What did commitments and usage without one cost day by day?
-- grain: day, kind of cost, currency
-- params: start, end
-- time: days
WITH parts AS (
    SELECT day, billing_currency, sum(used_cost) AS used, sum(unused_cost) AS unused, sum(on_demand_cost) AS on_demand
    FROM commitment_day
    WHERE in_scope AND day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
    GROUP BY ALL
)
SELECT day, billing_currency, part.name AS name, part.cost AS cost
FROM parts, unnest([{'name': 'commitment, used', 'cost': used}, {'name': 'commitment, unused', 'cost': unused},
                    {'name': 'on demand', 'cost': on_demand}]) AS each(part)
WHERE part.cost IS NOT NULL
ORDER BY day, name
