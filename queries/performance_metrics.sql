-- How every service does, as series of numbers: one row a service, metric and minute.
--
-- A span counts once however often it was exported, in the minute in which it began. A minute without spans has no row.
--
--   minute_at      the beginning of the minute
--   service_name   null where the service is not known
--   metric_name    request_rate, error_ratio, latency_ms_p50, latency_ms_p95 or latency_ms_p99
--   value          spans a second; the share of spans whose status is ERROR, from 0 to 1; durations, within 1 %
--   unit           1/s, 1 or ms
CREATE MATERIALIZED VIEW performance_metrics AS
WITH
span AS (
    SELECT DISTINCT trace_id, span_id, service_name, started_at, duration_ns, status_code FROM spans
),
minute AS (
    SELECT
        date_bin(INTERVAL '1 minute', started_at) AS minute_at,
        service_name,
        count(*) / 60.0 AS request_rate,
        count(*) FILTER (WHERE status_code = 'ERROR') / count(*)::double AS error_ratio,
        approx_percentile(duration_ns, 0.50) / 1e6 AS latency_ms_p50,
        approx_percentile(duration_ns, 0.95) / 1e6 AS latency_ms_p95,
        approx_percentile(duration_ns, 0.99) / 1e6 AS latency_ms_p99
    FROM span
    GROUP BY 1, 2
)
SELECT minute_at, service_name, 'request_rate' AS metric_name, request_rate AS value, '1/s' AS unit FROM minute
UNION ALL
SELECT minute_at, service_name, 'error_ratio', error_ratio, '1' FROM minute
UNION ALL
SELECT minute_at, service_name, 'latency_ms_p50', latency_ms_p50, 'ms' FROM minute
UNION ALL
SELECT minute_at, service_name, 'latency_ms_p95', latency_ms_p95, 'ms' FROM minute
UNION ALL
SELECT minute_at, service_name, 'latency_ms_p99', latency_ms_p99, 'ms' FROM minute;
