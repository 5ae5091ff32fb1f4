-- question: What did one team's closed statements say: everything of one month, and all that was charged on any?
-- grain: month, section, month that it is about, name, provider, service, charge category, currency
-- params: start, team
SELECT *
FROM statement_line
WHERE team = $team AND (section = 'charges' OR month = CAST($start AS DATE))
ORDER BY month, section, for_month, billing_currency, effective_cost DESC NULLS LAST, name, provider, service_name,
         charge_category
