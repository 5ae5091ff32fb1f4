-- question: What was bought in advance, what share of it was used in a stretch, and when does it end?
-- grain: commitment, currency
-- params: start, end
-- time: days
-- Whole UTC days of which at least half lies in the stretch; term and price are those of all time. What it saves is null
-- where the list price of what it covered is unknown.
WITH whole AS (
    SELECT provider, billing_account_id, commitment_id, billing_currency, min(commitment_name) AS commitment_name,
           min(commitment_type) AS commitment_type, max(term_start) AS term_start, max(term_end) AS term_end,
           sum(purchased_cost) AS purchased_cost, max(day) AS last_day
    FROM commitment_day
    WHERE commitment_id <> '' AND in_scope
    GROUP BY ALL
), stretch AS (
    SELECT provider, billing_account_id, commitment_id, billing_currency, sum(used_cost) AS used_cost,
           sum(unused_cost) AS unused_cost, sum(covered_list_cost) AS covered_list_cost,
           count(used_cost) = count(covered_list_cost) AS is_list_known
    FROM commitment_day
    WHERE commitment_id <> '' AND in_scope AND day >= CAST($start + INTERVAL 12 HOUR AS DATE)
      AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
    GROUP BY ALL
)
SELECT whole.*, used_cost, unused_cost,
       CASE WHEN used_cost IS NOT NULL OR unused_cost IS NOT NULL
            THEN coalesce(used_cost, 0::DECIMAL(38, 18)) + coalesce(unused_cost, 0::DECIMAL(38, 18)) END AS committed_cost,
       CASE WHEN is_list_known AND covered_list_cost IS NOT NULL
            THEN covered_list_cost - used_cost - coalesce(unused_cost, 0::DECIMAL(38, 18)) END AS net_saving_cost
FROM whole
LEFT JOIN stretch USING (provider, billing_account_id, commitment_id, billing_currency)
ORDER BY unused_cost DESC NULLS LAST, term_end, commitment_id
