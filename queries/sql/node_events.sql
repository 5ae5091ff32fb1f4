-- question: What happened to nodes and their agents: starts, clock jumps, rows that were lost, two of one name?
-- grain: node, event
-- params: start, end, cluster ('' for all)
-- time: hours
-- A node boots one time after the other: of two boots whose rounds lie in one time, one is another machine's.
WITH boot AS (
    SELECT cluster, node, boot_id, min(sampled_at) AS first_at, max(sampled_at) AS last_at
    FROM collector_run
    WHERE boot_id <> '' AND sampled_at >= $start AND sampled_at < $end AND ($cluster = '' OR cluster = $cluster)
    GROUP BY cluster, node, boot_id
), twice AS (
    SELECT one.cluster, one.node, one.boot_id AS one_boot_id, other.boot_id AS other_boot_id,
           least(one.last_at, other.last_at) AS last_at
    FROM boot AS one
    JOIN boot AS other ON other.cluster = one.cluster AND other.node = one.node AND other.boot_id > one.boot_id
    WHERE least(one.last_at, other.last_at) > greatest(one.first_at, other.first_at) + INTERVAL 5 MINUTE
)
SELECT *
FROM (
    SELECT cluster, node, event, count(*) AS event_count, sum(row_count) AS row_count, max(occurred_at) AS last_at,
           arg_max(message, occurred_at) AS last_message
    FROM node_event
    WHERE occurred_at >= $start AND occurred_at < $end AND ($cluster = '' OR cluster = $cluster)
    GROUP BY cluster, node, event
    UNION ALL
    SELECT cluster, node, 'two_agents', count(*), NULL, max(last_at),
           arg_max('boots ' || one_boot_id || ' and ' || other_boot_id
                   || ' send under this name at once: two machines (agent.node), or a clock that went back', last_at)
    FROM twice
    GROUP BY cluster, node
)
ORDER BY row_count DESC NULLS LAST, event IN ('agent_started', 'agent_stopped'), event <> 'two_agents', last_at DESC,
         cluster, node, event
