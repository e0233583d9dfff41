-- Quarters of an hour in which an endpoint answers otherwise than it did: what the model request_latency scores as unusual.
--
-- Not maintained by itself: its text stands for it in what reads it. A window is scored by the version of the model valid
-- when it began; without one it has no row. Versions are kept for a day, and so are rows.
--
--   detected_at                  the beginning of the window
--   service_name, operation, request_count, error_ratio, latency_ms_p50, latency_ms_p95, latency_ms_p99
--                                as in request_latency_features
--   latency_p95_change           the same: the logarithm (base 2) against the day before
--   score                        from 0 to 1: about 0.5 is what most windows have, near 1 is clearly an anomaly
--   severity                     by score: low (from 0.6), medium (0.65), high (0.7) or critical (0.8)
CREATE VIEW request_anomalies AS
WITH scored AS (
    SELECT
        *,
        anomaly_score(
            request_latency,
            request_count_change,
            error_ratio_change,
            latency_p50_change,
            latency_p95_change,
            latency_p99_change,
            at => window_at
        ) AS score
    FROM request_latency_features
)
SELECT
    window_at AS detected_at,
    service_name,
    operation,
    request_count,
    error_ratio,
    latency_ms_p50,
    latency_ms_p95,
    latency_ms_p99,
    latency_p95_change,
    score,
    CASE
        WHEN score >= 0.8 THEN 'critical'
        WHEN score >= 0.7 THEN 'high'
        WHEN score >= 0.65 THEN 'medium'
        ELSE 'low'
    END AS severity
FROM scored
WHERE score >= 0.6;
