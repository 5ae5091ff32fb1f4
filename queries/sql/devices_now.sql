-- question: What does each GPU do now, since when, and who holds it?
-- grain: GPU
-- params: now, cluster ('' for all), team ('' for all; else its devices and those that nobody holds)
-- A device's last two days are looked at; a device that is silent for longer is unknown since then.
WITH recent AS (
    SELECT cluster, node, gpu_uuid, started_at, ended_at, state, reason, job_id, restart_count, "user", team,
           row_number() OVER device AS newest,
           state || '/' || job_id AS what
    FROM gpu_state_interval
    WHERE started_at >= $now - INTERVAL 2 DAY AND started_at < $now AND ($cluster = '' OR cluster = $cluster)
      -- The time since the last sample is unknown until the next one: that is no news while it is short.
      AND (is_observed OR state <> 'unknown' OR started_at <= $now - INTERVAL 5 MINUTE)
    WINDOW device AS (PARTITION BY cluster, node, gpu_uuid ORDER BY started_at DESC)
),
latest AS (SELECT * FROM recent WHERE newest = 1),
since AS (
    SELECT recent.cluster, recent.node, recent.gpu_uuid, max(recent.ended_at) AS changed_at
    FROM recent JOIN latest USING (cluster, node, gpu_uuid)
    WHERE recent.what <> latest.what
    GROUP BY ALL
)
SELECT latest.cluster, latest.node, latest.gpu_uuid, gpu.gpu_index, gpu.gpu_model, gpu.gpu_fraction, gpu.mig_profile,
       latest.state, latest.reason, latest.job_id, latest.restart_count, latest."user", latest.team,
       coalesce(since.changed_at, $now - INTERVAL 2 DAY) AS since,
       latest.ended_at AS seen_until
FROM latest
LEFT JOIN since USING (cluster, node, gpu_uuid)
JOIN gpu ON gpu.cluster = latest.cluster AND gpu.node = latest.node AND gpu.gpu_uuid = latest.gpu_uuid
     AND gpu.exists_start <= $now AND (gpu.exists_end IS NULL OR gpu.exists_end > $now)
WHERE $team = '' OR latest.team = $team OR latest.state = 'unallocated'
ORDER BY latest.cluster, latest.node, gpu.gpu_index, latest.gpu_uuid
