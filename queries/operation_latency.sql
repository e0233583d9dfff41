-- Rate, errors and duration of every operation of every service, per minute.
--
-- An operation is a span name of a service. A span counts once however often it was exported, in the minute in which
-- it began.
--
--   service_name, operation          null where the service is not known
--   minute_at                        the beginning of the minute
--   call_count, calls_per_second     spans, and their rate over the minute
--   error_count, error_ratio         spans whose status is ERROR, and their share from 0 to 1
--   avg_latency_ms, latency_ms_p..   durations in milliseconds; percentiles are within 1 %
CREATE MATERIALIZED VIEW operation_latency AS
WITH span AS (
    SELECT DISTINCT trace_id, span_id, service_name, name, started_at, duration_ns, status_code FROM spans
)
SELECT
    service_name,
    name AS operation,
    date_bin(INTERVAL '1 minute', started_at) AS minute_at,
    count(*) AS call_count,
    count(*) / 60.0 AS calls_per_second,
    count(*) FILTER (WHERE status_code = 'ERROR') AS error_count,
    count(*) FILTER (WHERE status_code = 'ERROR') / count(*)::double AS error_ratio,
    avg(duration_ns) / 1e6 AS avg_latency_ms,
    approx_percentile(duration_ns, 0.50) / 1e6 AS latency_ms_p50,
    approx_percentile(duration_ns, 0.95) / 1e6 AS latency_ms_p95,
    approx_percentile(duration_ns, 0.99) / 1e6 AS latency_ms_p99
FROM span
GROUP BY 1, 2, 3;
