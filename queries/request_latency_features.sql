-- What the model request_latency is trained on and scores: how requests were answered, one row a service, endpoint and
-- quarter of an hour.
--
-- An endpoint is the name of a SERVER or CONSUMER span. A span counts once however often it was exported, in the window
-- in which it began. Rows stay for nine days, which is what the versions of the model need: seven days before each, a
-- day of versions, and one more. So it costs at most 864 rows an endpoint.
--
--   window_at                    the beginning of the quarter of an hour
--   service_name, operation      null where the service is not known
--   request_count, error_ratio   requests, and the share of those whose status is ERROR, from 0 to 1
--   latency_ms_p50, ...p95, p99  durations in milliseconds, within 1 %
CREATE MATERIALIZED VIEW request_latency_features WITH (retention = '9 days') AS
WITH span AS (
    SELECT DISTINCT trace_id, span_id, service_name, name, started_at, duration_ns, status_code
    FROM spans
    WHERE kind IN ('SERVER', 'CONSUMER')
)
SELECT
    date_bin(INTERVAL '15 minutes', started_at) AS window_at,
    service_name,
    name AS operation,
    count(*) AS request_count,
    count(*) FILTER (WHERE status_code = 'ERROR') / count(*)::double AS error_ratio,
    approx_percentile(duration_ns, 0.50) / 1e6 AS latency_ms_p50,
    approx_percentile(duration_ns, 0.95) / 1e6 AS latency_ms_p95,
    approx_percentile(duration_ns, 0.99) / 1e6 AS latency_ms_p99
FROM span
GROUP BY 1, 2, 3;
