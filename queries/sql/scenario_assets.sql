-- question: Which servers do we own, with which GPUs, and what does having each cost?
-- grain: asset
-- params: end
WITH model AS (
    SELECT cluster, node, max(gpu_model) AS gpu_model FROM gpu WHERE parent_gpu_uuid = '' GROUP BY ALL
)
SELECT asset.*, gpu_model
FROM asset
LEFT JOIN model USING (cluster, node)
WHERE life_start < CAST($end AS DATE)
ORDER BY life_start DESC, asset_id
