-- question: What did the purchases of each commitment bill on each day, in all bills that are here?
-- grain: day, commitment, currency
-- params: none
SELECT day, provider, billing_account_id, commitment_id, billing_currency, sum(purchased_cost) AS purchased_cost
FROM commitment_day
WHERE commitment_id <> '' AND in_scope AND purchased_cost IS NOT NULL
GROUP BY ALL
ORDER BY day, provider, billing_account_id, commitment_id, billing_currency
