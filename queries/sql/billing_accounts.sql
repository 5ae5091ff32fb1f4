-- question: What is each billing account called, and who hosts what it buys?
-- grain: provider, account
-- params: none
SELECT ServiceProviderName AS provider, BillingAccountId AS billing_account_id,
       max_by(BillingAccountName, ChargePeriodStart) AS account_name,
       CASE WHEN count(DISTINCT HostProviderName) = 1 THEN any_value(HostProviderName) END AS host_provider
FROM focus_charge
GROUP BY ALL
ORDER BY provider, billing_account_id
