-- question: Of which clusters does the API of Kubernetes tell the pods, and how many?
-- grain: cluster
-- params: none
SELECT cluster, count(*) AS pod_count
FROM job
WHERE source = 'kubernetes'
GROUP BY cluster
ORDER BY cluster
