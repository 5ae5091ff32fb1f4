-- question: Which state filled most of each stretch of time of each GPU, and which job held it?
-- grain: GPU, bucket of time
-- params: start, end, cluster ('' for all), team ('' for all), bucket ('hour' or 'day')
-- time: hours
-- with: devices
WITH cells AS (
    SELECT cluster, node, gpu_uuid, date_trunc($bucket, started_at) AS at, state,
           sum(epoch_ms(ended_at) - epoch_ms(started_at)) AS milliseconds,
           arg_max(job_id, epoch_ms(ended_at) - epoch_ms(started_at)) AS job_id
    FROM gpu_state_interval
    WHERE started_at >= $start AND started_at < $end AND ($cluster = '' OR cluster = $cluster)
      AND ($team = '' OR team = $team)
    GROUP BY ALL
)
SELECT cells.cluster, cells.node, cells.gpu_uuid,
       coalesce(any_value(devices.gpu), cells.node || ' · ' || right(cells.gpu_uuid, 6)) AS gpu,
       cells.at, arg_max(cells.state, cells.milliseconds) AS state,
       max(cells.milliseconds) / sum(cells.milliseconds) AS share_ratio,
       arg_max(cells.job_id, cells.milliseconds) AS job_id
FROM cells LEFT JOIN devices USING (cluster, node, gpu_uuid)
GROUP BY cells.cluster, cells.node, cells.gpu_uuid, cells.at
ORDER BY cells.cluster, cells.node, gpu, cells.at
