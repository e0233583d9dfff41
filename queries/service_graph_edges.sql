-- The service map of the last 15 minutes as Grafana's node graph panel reads it: its edges.
--
-- Its nodes are those of service_graph_nodes. Not maintained by itself: it reads the last minutes of
-- service_dependencies_1m, by stream time, whenever it is asked. For another time, group service_dependencies_1m alike.
--
--   id               "source -> target"
--   source, target   ids of nodes: who calls whom
--   mainstat         mean latency of the calls, in milliseconds
--   secondarystat    calls per second, over the minutes of the window in which anything was called
CREATE VIEW service_graph_edges AS
WITH
call AS (
    SELECT * FROM service_dependencies_1m WHERE minute_at > now() - INTERVAL '15 minutes'
),
covered AS (
    SELECT 60.0 * count(DISTINCT minute_at) AS seconds FROM call
)
SELECT
    source_service || ' -> ' || target_service AS id,
    source_service AS source,
    target_service AS target,
    sum(avg_latency_ms * call_count) / sum(call_count) AS mainstat,
    sum(call_count) / max(covered.seconds) AS secondarystat
FROM call CROSS JOIN covered
GROUP BY source_service, target_service;
