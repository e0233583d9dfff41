-- How every service does, as series of numbers: one row a service, metric and minute.
--
-- A span counts once however often it was exported, in the minute in which it began; a log record as often. A minute without
-- spans has no row of what is counted by spans, and one without log records none of those.
--
--   minute_at      the beginning of the minute
--   service_name   null where the service is not known
--   metric_name, value, unit
--                  request_rate                    1/s  spans a second
--                  error_ratio                     1    the share of spans whose status is ERROR, from 0 to 1
--                  latency_ms_p50, ...p95, ...p99  ms   durations, within 1 %
--                  log_error_rate                  1/s  log records of ERROR or FATAL a second
--                  log_records_per_span            1    log records for each span, where a service has ever logged: a request
--                                                       that fails early logs less, and one that fails loudly more
CREATE MATERIALIZED VIEW performance_metrics AS
WITH
span AS (
    SELECT DISTINCT trace_id, span_id, service_name, started_at, duration_ns, status_code FROM spans
),
minute AS (
    SELECT
        date_bin(INTERVAL '1 minute', started_at) AS minute_at,
        service_name,
        count(*) AS span_count,
        count(*) / 60.0 AS request_rate,
        count(*) FILTER (WHERE status_code = 'ERROR') / count(*)::double AS error_ratio,
        approx_percentile(duration_ns, 0.50) / 1e6 AS latency_ms_p50,
        approx_percentile(duration_ns, 0.95) / 1e6 AS latency_ms_p95,
        approx_percentile(duration_ns, 0.99) / 1e6 AS latency_ms_p99
    FROM span
    GROUP BY 1, 2
),
log AS (
    SELECT
        date_bin(INTERVAL '1 minute', ts) AS minute_at,
        service_name,
        count(*) AS record_count,
        count(*) FILTER (WHERE coalesce(severity_number >= 17, upper(severity_text) IN ('ERROR', 'FATAL'))) / 60.0
            AS log_error_rate
    FROM logs
    GROUP BY 1, 2
),
-- By day, and not once and for all: a join forgets what does not come again behind its horizon.
logging AS (
    SELECT DISTINCT service_name
    FROM (SELECT date_bin(INTERVAL '1 day', ts) AS day_at, service_name FROM logs GROUP BY 1, 2) AS day
    WHERE day_at > now() - INTERVAL '14 days'
)
SELECT minute_at, service_name, 'request_rate' AS metric_name, request_rate AS value, '1/s' AS unit FROM minute
UNION ALL
SELECT minute_at, service_name, 'error_ratio', error_ratio, '1' FROM minute
UNION ALL
SELECT minute_at, service_name, 'latency_ms_p50', latency_ms_p50, 'ms' FROM minute
UNION ALL
SELECT minute_at, service_name, 'latency_ms_p95', latency_ms_p95, 'ms' FROM minute
UNION ALL
SELECT minute_at, service_name, 'latency_ms_p99', latency_ms_p99, 'ms' FROM minute
UNION ALL
SELECT minute_at, service_name, 'log_error_rate', log_error_rate, '1/s' FROM log
UNION ALL
SELECT m.minute_at, m.service_name, 'log_records_per_span', coalesce(l.record_count, 0) / m.span_count::double, '1'
FROM minute m
JOIN logging s ON s.service_name IS NOT DISTINCT FROM m.service_name
LEFT JOIN log l ON l.minute_at = m.minute_at AND (l.service_name IS NOT DISTINCT FROM m.service_name);
