-- What devices are called on pages: their node and index, a slice with its profile.
SELECT cluster, node, gpu_uuid,
       node || ' · ' || coalesce(CAST(max(gpu_index) AS VARCHAR), right(gpu_uuid, 6))
         || CASE WHEN coalesce(max(parent_gpu_uuid), '') = '' THEN '' ELSE ' ' || coalesce(max(mig_profile), 'slice') END
         AS gpu
FROM gpu
GROUP BY cluster, node, gpu_uuid
