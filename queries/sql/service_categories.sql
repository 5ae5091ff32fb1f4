-- question: Which FOCUS category does each service have?
-- grain: provider, service
-- params: none
SELECT ServiceProviderName AS provider, ServiceName AS service_name,
       CASE WHEN count(DISTINCT ServiceCategory) = 1 THEN any_value(ServiceCategory) END AS service_category
FROM focus_charge
WHERE ServiceName IS NOT NULL
GROUP BY ALL
ORDER BY provider, service_name
