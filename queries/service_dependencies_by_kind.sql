-- Which service calls which, one row an edge, paired by span kind: the rule of the OpenTelemetry Collector's
-- servicegraph connector and of Grafana Tempo, for graphs that are to agree with theirs.
--
-- A CLIENT or PRODUCER span meets the SERVER or CONSUMER span whose parent it is; INTERNAL spans, spans without a kind
-- and spans without service.name are skipped. A service that calls itself has an edge to itself, unlike in
-- service_dependencies. Unlike there, too, a service between the two that reports only INTERNAL spans ends the chain.
-- Links of CONSUMER spans, peers of CLIENT spans without an answer, and SERVER spans without parent are as in
-- queries/service_calls.sql; only a SERVER or CONSUMER child is an answer. A span counts once however often it was
-- exported, and a call is found however late either side comes.
--
--   source_service, target_service   who calls whom
--   connection_type                  direct, messaging_system, database or virtual_node
--   call_count                       calls, each once
--   error_count                      those that failed on either side
--   avg_latency_ms, latency_ms_p..   of the side that answers, in milliseconds; of the CLIENT span where none did.
--                                    Percentiles are within 1 % of the exact value at the same rank
--   first_seen_at, last_seen_at      when the first and the last of the calls began
CREATE MATERIALIZED VIEW service_dependencies_by_kind AS
WITH
caller AS (
    SELECT DISTINCT trace_id, span_id, service_name, kind, status_code = 'ERROR' AS is_error
    FROM spans
    WHERE service_name IS NOT NULL AND kind IN ('CLIENT', 'PRODUCER')
),
called AS (
    SELECT DISTINCT
        trace_id,
        span_id,
        parent_span_id,
        service_name,
        kind,
        started_at,
        duration_ns,
        status_code = 'ERROR' AS is_error
    FROM spans
    WHERE service_name IS NOT NULL AND kind IN ('SERVER', 'CONSUMER')
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
link AS (
    SELECT DISTINCT trace_id, span_id, linked_trace_id, linked_span_id
    FROM span_links
    WHERE linked_trace_id <> trace_id
),
call AS (
    SELECT
        caller.service_name AS source_service,
        called.service_name AS target_service,
        CASE WHEN caller.kind = 'PRODUCER' OR called.kind = 'CONSUMER' THEN 'messaging_system' ELSE 'direct' END
            AS connection_type,
        called.started_at,
        called.duration_ns,
        called.is_error OR caller.is_error AS is_error
    FROM called
    JOIN caller ON caller.trace_id = called.trace_id AND caller.span_id = called.parent_span_id
    UNION ALL
    SELECT
        producer.service_name,
        consumer.service_name,
        'messaging_system',
        consumer.started_at,
        consumer.duration_ns,
        consumer.is_error OR producer.is_error
    FROM link
    JOIN called AS consumer ON consumer.trace_id = link.trace_id AND consumer.span_id = link.span_id
    JOIN caller AS producer ON producer.trace_id = link.linked_trace_id AND producer.span_id = link.linked_span_id
    WHERE consumer.kind = 'CONSUMER' AND producer.kind = 'PRODUCER'
    UNION ALL
    SELECT
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
            AND answer.kind IN ('SERVER', 'CONSUMER')
            AND answer.service_name IS NOT NULL
    )
    UNION ALL
    SELECT 'user', service_name, 'virtual_node', started_at, duration_ns, is_error
    FROM called
    WHERE kind = 'SERVER' AND parent_span_id IS NULL
)
SELECT
    source_service,
    target_service,
    connection_type,
    count(*) AS call_count,
    count(*) FILTER (WHERE is_error) AS error_count,
    avg(duration_ns) / 1e6 AS avg_latency_ms,
    approx_percentile(duration_ns, 0.50) / 1e6 AS latency_ms_p50,
    approx_percentile(duration_ns, 0.95) / 1e6 AS latency_ms_p95,
    approx_percentile(duration_ns, 0.99) / 1e6 AS latency_ms_p99,
    min(started_at) AS first_seen_at,
    max(started_at) AS last_seen_at
FROM call
GROUP BY source_service, target_service, connection_type;
