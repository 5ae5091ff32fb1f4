-- question: What was bought in advance, and when does it end?
-- grain: commitment
-- params: none
SELECT provider, billing_account_id, commitment_id, min(commitment_name) AS commitment_name,
       min(commitment_type) AS commitment_type, max(term_start) AS term_start, max(term_end) AS term_end
FROM commitment_day
WHERE commitment_id <> '' AND in_scope
GROUP BY ALL
ORDER BY term_end, provider, commitment_id, billing_account_id
