-- How every service does, one row a service, over all that was recorded.
--
-- A request is an entry span: a span without parent, or one whose parent is of another service. It needs no span kinds.
-- A span whose parent has not come is no request until it comes. Spans count once however often they were exported.
--
--   service_name
--   status                           failing from an error_ratio of 5 % on, degraded from 1 % on, else healthy
--   request_count                    requests
--   requests_per_second              over the time from the first to the last span, of at least one second
--   error_count, error_ratio         requests whose status is ERROR, and their share from 0 to 1; 0 without requests
--   avg_latency_ms, latency_ms_p..   durations of requests in milliseconds; percentiles are within 1 %
--   span_count, span_error_count     all spans, and those whose status is ERROR
--   instance_count                   distinct service.instance.id, or else k8s.pod.name, host.name or container.id
--   first_seen_at, last_seen_at      when the first and the last span began
CREATE MATERIALIZED VIEW service_health AS
WITH
-- Each span once: as queries/service_calls.sql has them, so that one operator keeps them for both.
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
-- All spans once, the entry spans with a parent once more, and each instance once.
seen AS (
    SELECT
        service_name,
        true AS is_span,
        parent_span_id IS NULL AS is_request,
        started_at,
        duration_ns,
        is_error,
        NULL AS instance
    FROM span
    UNION ALL
    SELECT entry.service_name, false, true, entry.started_at, entry.duration_ns, entry.is_error, NULL
    FROM span AS entry
    JOIN span AS parent ON parent.trace_id = entry.trace_id AND parent.span_id = entry.parent_span_id
    WHERE parent.service_name <> entry.service_name
    UNION ALL
    SELECT DISTINCT
        service_name,
        false,
        false,
        NULL,
        NULL,
        NULL,
        coalesce(
            resource_attributes['service.instance.id'],
            resource_attributes['k8s.pod.name'],
            resource_attributes['host.name'],
            resource_attributes['container.id']
        )
    FROM spans
    WHERE service_name IS NOT NULL
),
service AS (
    SELECT
        service_name,
        count(*) FILTER (WHERE is_request) AS request_count,
        count(*) FILTER (WHERE is_request AND is_error) AS error_count,
        avg(duration_ns) FILTER (WHERE is_request) / 1e6 AS avg_latency_ms,
        approx_percentile(duration_ns, 0.50) FILTER (WHERE is_request) / 1e6 AS latency_ms_p50,
        approx_percentile(duration_ns, 0.95) FILTER (WHERE is_request) / 1e6 AS latency_ms_p95,
        approx_percentile(duration_ns, 0.99) FILTER (WHERE is_request) / 1e6 AS latency_ms_p99,
        count(*) FILTER (WHERE is_span) AS span_count,
        count(*) FILTER (WHERE is_span AND is_error) AS span_error_count,
        count(DISTINCT instance) AS instance_count,
        min(started_at) AS first_seen_at,
        max(started_at) AS last_seen_at
    FROM seen
    GROUP BY service_name
)
SELECT
    service_name,
    CASE
        WHEN error_count >= 0.05 * request_count AND error_count > 0 THEN 'failing'
        WHEN error_count >= 0.01 * request_count AND error_count > 0 THEN 'degraded'
        ELSE 'healthy'
    END AS status,
    request_count,
    request_count / greatest(1.0, date_part('epoch', last_seen_at) - date_part('epoch', first_seen_at))
        AS requests_per_second,
    error_count,
    error_count / greatest(request_count, 1)::double AS error_ratio,
    avg_latency_ms,
    latency_ms_p50,
    latency_ms_p95,
    latency_ms_p99,
    span_count,
    span_error_count,
    instance_count,
    first_seen_at,
    last_seen_at
FROM service;
