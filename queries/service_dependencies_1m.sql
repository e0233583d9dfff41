-- Which service called which in each minute: the service graph over time, one row an edge and minute.
--
-- Calls are paired by parent, as queries/service_calls.sql says. A call belongs to the minute in which the side that
-- answers began.
--
--   minute_at                        the beginning of the minute
--   source_service, target_service   who called whom
--   connection_type                  direct, messaging_system, database or virtual_node
--   call_count, calls_per_second     calls, each once, and their rate over the minute
--   error_count                      those that failed on either side
--   avg_latency_ms, latency_ms_p..   of the side that answers, in milliseconds; percentiles are within 1 %
CREATE MATERIALIZED VIEW service_dependencies_1m AS
SELECT
    date_bin(INTERVAL '1 minute', started_at) AS minute_at,
    source_service,
    target_service,
    connection_type,
    count(*) AS call_count,
    count(*) / 60.0 AS calls_per_second,
    count(*) FILTER (WHERE is_error) AS error_count,
    avg(duration_ns) / 1e6 AS avg_latency_ms,
    approx_percentile(duration_ns, 0.50) / 1e6 AS latency_ms_p50,
    approx_percentile(duration_ns, 0.95) / 1e6 AS latency_ms_p95,
    approx_percentile(duration_ns, 0.99) / 1e6 AS latency_ms_p99
FROM service_calls
GROUP BY 1, source_service, target_service, connection_type;
