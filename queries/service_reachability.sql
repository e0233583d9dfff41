-- Who is hit if a service fails: everything that calls it, directly or by way of others, one row a pair.
--
-- By the calls of the last hour of stream time, paired as queries/service_calls.sql says: an edge goes, and what was
-- only reached over it, an hour after the last minute in which there was a call. A service further than 16 calls away
-- is not listed.
--
--   source_service     the service, database or peer that fails
--   affected_service   what depends on it; `user` stands for whoever calls from outside
--   hops               calls between the two, on the shortest way
--   blast_radius       how many are affected by source_service in all
CREATE MATERIALIZED VIEW service_reachability AS
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
    WHERE minute_at > now() - INTERVAL '1 hour' AND source_service <> target_service
),
reached AS (
    SELECT target_service AS source_service, source_service AS affected_service, 1 AS hops
    FROM edge
    UNION
    SELECT reached.source_service, edge.source_service, reached.hops + 1
    FROM reached
    JOIN edge ON edge.target_service = reached.affected_service
    WHERE reached.hops < 16 AND edge.source_service <> reached.source_service
),
nearest AS (
    SELECT source_service, affected_service, min(hops) AS hops
    FROM reached
    GROUP BY source_service, affected_service
),
radius AS (
    SELECT source_service, count(*) AS blast_radius
    FROM nearest
    GROUP BY source_service
)
SELECT nearest.source_service, nearest.affected_service, nearest.hops, radius.blast_radius
FROM nearest
JOIN radius ON radius.source_service = nearest.source_service;
