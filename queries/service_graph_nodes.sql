-- The service map of the last 15 minutes as Grafana's node graph panel reads it: its nodes.
--
-- One row for everything that calls or is called. Its edges are those of service_graph_edges. Not maintained by itself:
-- it reads the last minutes of service_dependencies_1m, by stream time, whenever it is asked.
--
--   id, title                   the name of the service, database or peer
--   subtitle                    service, database, or external for what sends no telemetry itself
--   mainstat                    mean latency of the calls it answered, in milliseconds; null where there were none
--   secondarystat               calls that it answered per second, over the minutes of the window in which anything
--                               was called
--   arc__success, arc__errors   shares of these calls, which add up to 1; without calls all is success
CREATE VIEW service_graph_nodes AS
WITH
call AS (
    SELECT * FROM service_dependencies_1m WHERE minute_at > now() - INTERVAL '15 minutes'
),
covered AS (
    SELECT 60.0 * count(DISTINCT minute_at) AS seconds FROM call
),
-- Each edge at both of its ends; calls count where they were answered.
seen AS (
    SELECT
        target_service AS name,
        connection_type IN ('direct', 'messaging_system')
            OR (connection_type = 'virtual_node' AND source_service = 'user') AS is_service,
        connection_type = 'database' AS is_database,
        call_count,
        error_count,
        avg_latency_ms * call_count AS latency_ms
    FROM call
    UNION ALL
    SELECT source_service, NOT (connection_type = 'virtual_node' AND source_service = 'user'), false, 0, 0, 0.0
    FROM call
),
node AS (
    SELECT
        name,
        bool_or(is_service) AS is_service,
        bool_or(is_database) AS is_database,
        sum(call_count) AS call_count,
        sum(error_count) AS error_count,
        sum(latency_ms) AS latency_ms
    FROM seen
    GROUP BY name
)
SELECT
    name AS id,
    name AS title,
    CASE WHEN is_service THEN 'service' WHEN is_database THEN 'database' ELSE 'external' END AS subtitle,
    CASE WHEN call_count > 0 THEN latency_ms / call_count END AS mainstat,
    call_count / covered.seconds AS secondarystat,
    1.0 - error_count / greatest(call_count, 1)::double AS arc__success,
    error_count / greatest(call_count, 1)::double AS arc__errors
FROM node CROSS JOIN covered;
