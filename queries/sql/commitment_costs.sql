-- question: What of each commitment was used, wasted and saved on each day?
-- grain: day, commitment, currency
-- params: start, end
-- time: days
-- Whole UTC days of which at least half lies in the stretch. What was committed is null on all of them where the bill does
-- not say what a charge of the stretch costs after amortisation, and what it saves where it says no list price of it either.
-- Such a charge counts once: on the first day of the stretch, or on the day on which it begins.
WITH days AS (
    SELECT day, provider, billing_account_id, commitment_id, billing_currency, sum(used_cost) AS used_cost,
           sum(unused_cost) AS unused_cost, sum(covered_list_cost) AS covered_list_cost,
           count(used_cost) AS used_count, count(covered_list_cost) AS listed_count,
           coalesce(sum(CASE WHEN day = CAST($start + INTERVAL 12 HOUR AS DATE) THEN used_unstated_count
                             ELSE used_unstated_begun_count END), 0) AS used_unstated_count,
           coalesce(sum(CASE WHEN day = CAST($start + INTERVAL 12 HOUR AS DATE) THEN unused_unstated_count
                             ELSE unused_unstated_begun_count END), 0) AS unused_unstated_count,
           coalesce(sum(covered_list_unstated_count), 0) AS covered_list_unstated_count
    FROM commitment_day
    WHERE commitment_id <> '' AND in_scope AND day >= CAST($start + INTERVAL 12 HOUR AS DATE)
      AND day < CAST($end + INTERVAL 12 HOUR AS DATE)
    GROUP BY ALL
), told AS (
    SELECT *, sum(used_unstated_count + unused_unstated_count) OVER each = 0 AS is_cost_known,
           sum(listed_count) OVER each > 0 AND sum(listed_count) OVER each = sum(used_count) OVER each
               AND sum(covered_list_unstated_count) OVER each = 0 AS is_list_known
    FROM days
    WINDOW each AS (PARTITION BY provider, billing_account_id, commitment_id, billing_currency)
)
SELECT day, provider, billing_account_id, commitment_id, billing_currency, used_cost, unused_cost,
       CASE WHEN is_cost_known AND (used_cost IS NOT NULL OR unused_cost IS NOT NULL)
            THEN coalesce(used_cost, 0::DECIMAL(38, 18)) + coalesce(unused_cost, 0::DECIMAL(38, 18)) END AS committed_cost,
       CASE WHEN is_cost_known AND is_list_known
            THEN coalesce(covered_list_cost, 0::DECIMAL(38, 18)) - coalesce(used_cost, 0::DECIMAL(38, 18))
                 - coalesce(unused_cost, 0::DECIMAL(38, 18)) END AS net_saving_cost,
       CAST(used_unstated_count AS BIGINT) AS used_unstated_count,
       CAST(unused_unstated_count AS BIGINT) AS unused_unstated_count
FROM told
WHERE used_cost IS NOT NULL OR unused_cost IS NOT NULL OR used_unstated_count + unused_unstated_count > 0
ORDER BY day, provider, billing_account_id, commitment_id, billing_currency
