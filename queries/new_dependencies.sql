-- Edges of the service graph that were first seen within the last day of stream time.
--
-- Calls are paired by parent, as queries/service_calls.sql says. On the first day everything is new.
--
--   source_service, target_service   who calls whom
--   connection_type                  direct, messaging_system, database or virtual_node
--   first_seen_at                    when the first of the calls began
CREATE MATERIALIZED VIEW new_dependencies AS
-- Grouped once more: the counts of an edge change with each call, this only with the edge.
WITH edge AS (
    SELECT source_service, target_service, connection_type, min(first_seen_at) AS first_seen_at
    FROM service_dependencies
    GROUP BY source_service, target_service, connection_type
)
SELECT source_service, target_service, connection_type, first_seen_at
FROM edge
WHERE first_seen_at > now() - INTERVAL '1 day';
