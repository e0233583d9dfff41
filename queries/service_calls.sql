-- Calls between services, one row a call: what the service dependencies are counted from.
--
-- Not maintained by itself: its text stands for it in the views that read it.
--
-- Paired by parent, which needs no span kinds (the rule of Jaeger's spark-dependencies and of SigNoz):
--   direct            a span and its parent in the same trace, where their services differ
--   messaging_system  the same where the parent is a PRODUCER or the span a CONSUMER; also a CONSUMER span whose link
--                     names a PRODUCER span of another service in another trace
--   database          a CLIENT span that no service answered, with an attribute db.*
--   virtual_node      the same without one; and a SERVER span without parent, which is a call of `user`
--
-- The peer of a CLIENT span that no service answered is the first given of peer.service, server.address,
-- network.peer.address with network.peer.port, db.namespace, db.name, db.system.name and db.system. Without any of
-- them there is no row.
--
-- A span counts once however often it was exported, and a call once however many rules could see it: a CLIENT span
-- that names its peer is answered by a child of kind SERVER or CONSUMER, or by one of another service that is CLIENT or
-- PRODUCER; where there are only other children, the peer stands for whoever answered. Spans without service.name take
-- no part. A SERVER span whose parent has not come is in no row until it comes. None of this depends on the order of
-- arrival.
--
--   trace_id, span_id   of the span that answered; of the CLIENT span where none did
--   source_service      the service that called
--   target_service      the service, database or peer that was called
--   connection_type     as above
--   started_at          when that span began
--   duration_ns         its duration in nanoseconds
--   is_error            whether its status is ERROR, or that of the CLIENT or PRODUCER span that called
CREATE VIEW service_calls AS
WITH
-- Each span once. names_peer: whether it is a CLIENT span that would name its peer if nobody answered.
span AS (
    SELECT DISTINCT
        trace_id,
        span_id,
        parent_span_id,
        service_name,
        kind,
        started_at,
        duration_ns,
        status_code = 'ERROR' AS is_error,
        kind = 'CLIENT' AND array_has_any(
            map_keys(attributes),
            ARRAY['peer.service', 'server.address', 'network.peer.address', 'db.namespace', 'db.name',
                'db.system.name', 'db.system']
        ) AS names_peer
    FROM spans
    WHERE service_name IS NOT NULL
),
-- The CLIENT spans that name a peer, once each.
client AS (
    SELECT DISTINCT
        trace_id,
        span_id,
        service_name,
        coalesce(
            attributes['peer.service'],
            attributes['server.address'],
            attributes['network.peer.address']
                || coalesce(':' || attributes['network.peer.port'], ''),
            attributes['db.namespace'],
            attributes['db.name'],
            attributes['db.system.name'],
            attributes['db.system'],
            'unknown'
        ) AS peer,
        regexp_like(array_to_string(map_keys(attributes), ' '), '(^| )db[.]') AS is_database,
        started_at,
        duration_ns,
        status_code = 'ERROR' AS is_error
    FROM spans
    WHERE service_name IS NOT NULL
        AND kind = 'CLIENT'
        AND array_has_any(
            map_keys(attributes),
            ARRAY['peer.service', 'server.address', 'network.peer.address', 'db.namespace', 'db.name',
                'db.system.name', 'db.system']
        )
),
consumer AS (
    SELECT DISTINCT trace_id, span_id, service_name, started_at, duration_ns, status_code = 'ERROR' AS is_error
    FROM spans
    WHERE service_name IS NOT NULL AND kind = 'CONSUMER'
),
producer AS (
    SELECT DISTINCT trace_id, span_id, service_name, status_code = 'ERROR' AS is_error
    FROM spans
    WHERE service_name IS NOT NULL AND kind = 'PRODUCER'
),
link AS (
    SELECT DISTINCT trace_id, span_id, linked_trace_id, linked_span_id
    FROM span_links
    WHERE linked_trace_id <> trace_id
)
SELECT
    called.trace_id,
    called.span_id,
    caller.service_name AS source_service,
    called.service_name AS target_service,
    CASE WHEN caller.kind = 'PRODUCER' OR called.kind = 'CONSUMER' THEN 'messaging_system' ELSE 'direct' END
        AS connection_type,
    called.started_at,
    called.duration_ns,
    called.is_error OR (caller.is_error AND caller.kind IN ('CLIENT', 'PRODUCER')) AS is_error
FROM span AS called
JOIN span AS caller ON caller.trace_id = called.trace_id AND caller.span_id = called.parent_span_id
WHERE caller.service_name <> called.service_name
    AND NOT (caller.names_peer AND called.kind IN ('UNSPECIFIED', 'INTERNAL'))
UNION ALL
SELECT
    consumer.trace_id,
    consumer.span_id,
    producer.service_name,
    consumer.service_name,
    'messaging_system',
    consumer.started_at,
    consumer.duration_ns,
    consumer.is_error OR producer.is_error
FROM link
JOIN consumer ON consumer.trace_id = link.trace_id AND consumer.span_id = link.span_id
JOIN producer ON producer.trace_id = link.linked_trace_id AND producer.span_id = link.linked_span_id
WHERE producer.service_name <> consumer.service_name
UNION ALL
SELECT
    client.trace_id,
    client.span_id,
    client.service_name,
    client.peer,
    CASE WHEN client.is_database THEN 'database' ELSE 'virtual_node' END,
    client.started_at,
    client.duration_ns,
    client.is_error
FROM client
WHERE NOT EXISTS (
    SELECT 1
    FROM spans AS answer
    WHERE answer.trace_id = client.trace_id
        AND answer.parent_span_id = client.span_id
        AND answer.kind IN ('SERVER', 'CONSUMER', 'CLIENT', 'PRODUCER')
        AND answer.service_name IS NOT NULL
        AND (answer.kind IN ('SERVER', 'CONSUMER') OR answer.service_name <> client.service_name)
)
UNION ALL
SELECT DISTINCT
    trace_id,
    span_id,
    'user',
    service_name,
    'virtual_node',
    started_at,
    duration_ns,
    status_code = 'ERROR'
FROM spans
WHERE service_name IS NOT NULL AND kind = 'SERVER' AND parent_span_id IS NULL;
