-- Which service calls which, one row an edge: the service graph.
--
-- Calls are paired by parent, as queries/service_calls.sql says; service_dependencies_by_kind pairs them by span kind.
--
--   source_service, target_service   who calls whom
--   connection_type                  direct, messaging_system, database or virtual_node
--   call_count                       calls, each once
--   error_count                      those that failed on either side
--   avg_latency_ms, latency_ms_p..   of the side that answers, in milliseconds; of the CLIENT span where none did.
--                                    Percentiles are within 1 % of the exact value at the same rank
--   first_seen_at, last_seen_at      when the first and the last of the calls began
CREATE MATERIALIZED VIEW service_dependencies AS
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
FROM service_calls
GROUP BY source_service, target_service, connection_type;
