-- What is unusual: one row an incident of a series, from the first event of anomaly_events until fifteen minutes without
-- another.
--
--   id                                the same for the same series and beginning
--   detected_at, last_detected_at     its first and its last event
--   detectors                         which have found it, by name
--   service_name, metric_name
--   value, expected, lower, upper     of its strongest event, and that one's
--   score, deviation_percent
--   severity                          of its strongest event: low, medium, high or critical
--   event_count                       how many events it has
--   status                            open until the stream clock is fifteen minutes past the last event, then closed
CREATE MATERIALIZED VIEW anomalies AS
WITH
incident AS (
    SELECT
        md5(concat_ws('/', service_name, metric_name, window_start::text)) AS id,
        window_start AS detected_at,
        max(detected_at) AS last_detected_at,
        string_agg(DISTINCT detector, ', ') AS detectors,
        service_name,
        metric_name,
        first_value(value ORDER BY score DESC, detected_at, detector) AS value,
        first_value(expected ORDER BY score DESC, detected_at, detector) AS expected,
        first_value(lower ORDER BY score DESC, detected_at, detector) AS lower,
        first_value(upper ORDER BY score DESC, detected_at, detector) AS upper,
        max(score) AS score,
        first_value(deviation_percent ORDER BY score DESC, detected_at, detector) AS deviation_percent,
        first_value(severity ORDER BY score DESC, detected_at, detector) AS severity,
        count(*) AS event_count,
        window_end AS closes_at
    FROM SESSION(anomaly_events PARTITION BY service_name, metric_name, detected_at, INTERVAL '15 minutes')
    GROUP BY service_name, metric_name, window_start, window_end
),
current_incident AS (
    SELECT id FROM incident WHERE closes_at > now()
)
SELECT
    id,
    detected_at,
    last_detected_at,
    detectors,
    service_name,
    metric_name,
    value,
    expected,
    lower,
    upper,
    score,
    deviation_percent,
    severity,
    event_count,
    CASE WHEN EXISTS (SELECT 1 FROM current_incident c WHERE c.id = i.id) THEN 'open' ELSE 'closed' END AS status
FROM incident i;
