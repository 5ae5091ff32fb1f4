-- question: What happened to nodes and their agents: starts, clock jumps, rows that were lost?
-- grain: node, event
-- params: start, end, cluster ('' for all)
-- time: hours
SELECT cluster, node, event, count(*) AS event_count, sum(row_count) AS row_count, max(occurred_at) AS last_at,
       arg_max(message, occurred_at) AS last_message
FROM node_event
WHERE occurred_at >= $start AND occurred_at < $end AND ($cluster = '' OR cluster = $cluster)
GROUP BY cluster, node, event
ORDER BY row_count DESC NULLS LAST, event IN ('agent_started', 'agent_stopped'), last_at DESC, cluster, node, event
