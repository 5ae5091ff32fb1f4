-- question: What do models of managed services cost, as the bills name them, and for how many tokens?
-- grain: day, provider, service, model, direction of the tokens, unit, team, currency
-- params: start, end, cluster ('' for all; no other has any), team ('' for all; else what it owns)
-- time: days
-- Whole UTC days of which at least half lies in the stretch.
SELECT day, provider, service_name, model, token_direction, consumed_unit AS unit, team, billing_currency,
       sum(billed_cost) AS billed_cost, sum(effective_cost) AS effective_cost, sum(consumed_unit_count) AS quantity,
       sum(token_count) AS token_count
FROM managed_model_day
WHERE $cluster = '' AND ($team = '' OR team = $team) AND in_scope
  AND day >= CAST($start + INTERVAL 12 HOUR AS DATE) AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
GROUP BY ALL
ORDER BY day, effective_cost DESC NULLS LAST, model, token_direction, team
