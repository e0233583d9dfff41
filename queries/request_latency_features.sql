-- What the model request_latency is trained on and scores: how the requests of an endpoint were answered, beside how they
-- were in the day before, one row a service, endpoint and quarter of an hour.
--
-- An endpoint is the name of a SERVER or CONSUMER span. A span counts once however often it was exported, in the window
-- in which it began. A window has a row once it has ended by the stream clock and four others with requests came before it.
-- Rows stay for nine days, which is what the versions of the model need: seven days before each, a day of versions, and
-- one more. So it costs at most 864 rows an endpoint, and the counts of ten days behind them.
--
--   window_at                    the beginning of the quarter of an hour
--   service_name, operation      null where the service is not known
--   request_count, error_ratio   requests, and the share of those whose status is ERROR, from 0 to 1
--   latency_ms_p50, ...p95, p99  durations in milliseconds, within 1 %
--   request_count_change, latency_p50_change, ...p95, p99
--                                the logarithm (base 2) of each against its mean in the 96 windows before that had requests:
--                                1 is double, -1 half
--   error_ratio_change           the error ratio less its mean there
CREATE MATERIALIZED VIEW request_latency_features AS
WITH
span AS (
    SELECT DISTINCT trace_id, span_id, service_name, name, started_at, duration_ns, status_code
    FROM spans
    WHERE kind IN ('SERVER', 'CONSUMER')
),
quarter AS (
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
    GROUP BY 1, 2, 3
    HAVING date_bin(INTERVAL '15 minutes', started_at) > now() - INTERVAL '10 days'
),
compared AS (
    SELECT
        window_at,
        service_name,
        operation,
        request_count,
        error_ratio,
        latency_ms_p50,
        latency_ms_p95,
        latency_ms_p99,
        count(*) OVER day AS window_count,
        avg(request_count) OVER day AS request_count_before,
        avg(error_ratio) OVER day AS error_ratio_before,
        avg(latency_ms_p50) OVER day AS latency_ms_p50_before,
        avg(latency_ms_p95) OVER day AS latency_ms_p95_before,
        avg(latency_ms_p99) OVER day AS latency_ms_p99_before
    FROM quarter
    WHERE window_at <= now() - INTERVAL '15 minutes'
    WINDOW day AS (
        PARTITION BY service_name, operation ORDER BY window_at ROWS BETWEEN 96 PRECEDING AND 1 PRECEDING
    )
)
SELECT
    window_at,
    service_name,
    operation,
    request_count,
    error_ratio,
    latency_ms_p50,
    latency_ms_p95,
    latency_ms_p99,
    log2(request_count / request_count_before) AS request_count_change,
    error_ratio - error_ratio_before AS error_ratio_change,
    -- Durations of nothing are taken for a microsecond.
    log2(greatest(latency_ms_p50, 0.001) / greatest(latency_ms_p50_before, 0.001)) AS latency_p50_change,
    log2(greatest(latency_ms_p95, 0.001) / greatest(latency_ms_p95_before, 0.001)) AS latency_p95_change,
    log2(greatest(latency_ms_p99, 0.001) / greatest(latency_ms_p99_before, 0.001)) AS latency_p99_change
FROM compared
WHERE window_count >= 4 AND window_at > now() - INTERVAL '9 days';
