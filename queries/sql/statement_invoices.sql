-- question: Do the invoices agree that one team's charges of a month come from?
-- grain: provider, invoice, currency
-- params: start, end, team
-- time: days
-- Without amounts: these are of all teams.
SELECT provider, invoice_issuer, invoice_id, billing_currency, status, is_ok, complete_through
FROM reconciliation
WHERE billing_period_start >= $start AND billing_period_start < $end
  AND provider IN (SELECT DISTINCT provider FROM spend_day
                   WHERE team = $team AND day >= CAST($start AS DATE) AND day < CAST($end AS DATE))
ORDER BY provider, invoice_id, billing_currency
