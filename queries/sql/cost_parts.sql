-- question: What did the estate cost, day by day, by team or model, with idle time of each kind told apart?
-- grain: day, currency, cluster, name, part
-- params: start, end, cluster ('' for all), team ('' for all), by ('team' or 'model'), measure ('billed' or 'effective'), estate ('in' scope or 'all')
-- time: hours
-- with: spent
-- Parts: used, allocated_idle and held_idle of who held it; unallocated and unused_commitment of nobody; apart is all else.
SELECT day, billing_currency, cluster,
       CASE $by
           WHEN 'model' THEN CASE WHEN model = '' THEN bucket ELSE model END
           ELSE CASE WHEN team = '' THEN bucket ELSE team END
       END AS name,
       CASE WHEN bucket = 'allocated' AND state IN ('allocated_idle', 'held_idle') THEN state
            WHEN bucket = 'allocated' THEN 'used'
            WHEN bucket = 'idle' AND commitment_status = 'Unused' THEN 'unused_commitment'
            WHEN bucket = 'idle' THEN 'unallocated'
            ELSE 'apart'
       END AS part,
       sum(CASE $measure WHEN 'billed' THEN billed_cost ELSE effective_cost END) AS cost,
       bool_or(is_estimated) AS has_estimate
FROM spent
WHERE ($cluster = '' OR cluster = $cluster) AND ($team = '' OR team = $team) AND ($estate = 'all' OR in_scope)
GROUP BY ALL
ORDER BY day, billing_currency, cluster, name, part
