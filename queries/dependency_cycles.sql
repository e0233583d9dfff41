-- Services that are in a cycle together, each of which fails with any other: one row a service.
--
-- These are the strongly connected components of the service graph that have more than one service, or one that calls
-- itself, by the calls of the last hour of stream time, paired as queries/service_calls.sql says. A cycle goes an hour
-- after the last minute with a call over one of its edges, if nothing else closes it.
--
--   cycle           the name of the cycle: that of its first service, in alphabetical order
--   service_name    a service in it
--   service_count   how many are in it
CREATE MATERIALIZED VIEW dependency_cycles AS
WITH RECURSIVE
-- Counted, so that a minute is forgotten as a whole and does not change with each call.
minute AS (
    SELECT minute_at, source_service, target_service, count(*) AS connection_types
    FROM service_dependencies_1m
    GROUP BY minute_at, source_service, target_service
),
edge AS (
    SELECT DISTINCT source_service, target_service
    FROM minute
    WHERE minute_at > now() - INTERVAL '1 hour'
),
path AS (
    SELECT source_service, target_service
    FROM edge
    UNION
    SELECT path.source_service, edge.target_service
    FROM path
    JOIN edge ON edge.source_service = path.target_service
),
member AS (
    SELECT there.source_service AS service_name, min(there.target_service) AS cycle
    FROM path AS there
    JOIN path AS back
        ON back.source_service = there.target_service AND back.target_service = there.source_service
    GROUP BY there.source_service
),
size AS (
    SELECT cycle, count(*) AS service_count
    FROM member
    GROUP BY cycle
)
SELECT member.cycle, member.service_name, size.service_count
FROM member
JOIN size ON size.cycle = member.cycle;
