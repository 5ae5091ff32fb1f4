-- question: How fresh and how complete is what the ledger shows?
-- grain: one row
-- params: now
SELECT (SELECT max(hour_start) FROM gpu_hour) AS gpu_hour_until,
       (SELECT max(last_sampled_at) FROM coverage_day) AS last_sampled_at,
       (SELECT sum(gpu_observed_seconds) FROM coverage_day WHERE day >= CAST($now AS DATE) - 7) AS gpu_observed_seconds,
       (SELECT sum(gpu_existed_seconds) FROM coverage_day WHERE day >= CAST($now AS DATE) - 7) AS gpu_existed_seconds,
       (SELECT min(complete_through) FROM (
            SELECT provider, billing_account_id, max(complete_through) AS complete_through FROM bill_import
            WHERE status = 'current' GROUP BY ALL)) AS complete_through,
       (SELECT count(*) FROM reconciliation WHERE status = 'differs') AS differing_count,
       (SELECT count(*) FROM reconciliation WHERE status = 'matches_invoice') AS matching_count,
       (SELECT count(*) FROM reconciliation) AS reconciliation_count
