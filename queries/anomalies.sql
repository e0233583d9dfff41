-- What is unusual: one row an incident of a series, from the first event of anomaly_events until fifteen minutes without
-- another.
--
--   id                                the same for the same series and beginning, which a later look may still move
--   detected_at, last_detected_at     its first and its last event
--   escalated_at                      when it reached its severity; null where it began with it
--   detectors                         which have found it, by name
--   service_name, metric_name
--   value, expected, lower, upper     of its strongest event, and that one's
--   score, deviation_percent
--   severity                          of its strongest event: low, medium, high or critical
--   evidence                          what speaks for that one, in words
--   event_count                       how many events it has
--   status                            open until the stream clock is fifteen minutes past the last event, or acknowledged for
--                                     that time; then closed
--   acknowledged_at, note             when somebody saw to it, and what was said (CALL acknowledge_anomaly(id, 'note'));
--                                     null where nobody did
CREATE MATERIALIZED VIEW anomalies AS
WITH
incident AS (
    SELECT
        md5(concat_ws('/', service_name, metric_name, window_start::text)) AS id,
        window_start AS detected_at,
        max(detected_at) AS last_detected_at,
        first_value(
            detected_at
            ORDER BY
                CASE severity WHEN 'critical' THEN 3 WHEN 'high' THEN 2 WHEN 'medium' THEN 1 ELSE 0 END DESC,
                detected_at
        ) AS severe_at,
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
        first_value(evidence ORDER BY score DESC, detected_at, detector) AS evidence,
        count(*) AS event_count,
        window_end AS closes_at
    FROM SESSION(anomaly_events PARTITION BY service_name, metric_name, detected_at, INTERVAL '15 minutes')
    GROUP BY service_name, metric_name, window_start, window_end
),
current_incident AS (
    SELECT id FROM incident WHERE closes_at > now()
),
acknowledged AS (
    SELECT
        i.id,
        max(a.acknowledged_at) AS acknowledged_at,
        first_value(a.note ORDER BY a.acknowledged_at DESC, a.anomaly_id) AS note
    FROM incident i
    JOIN anomaly_acknowledgements a
        ON a.metric_name = i.metric_name
        AND (a.service_name IS NOT DISTINCT FROM i.service_name)
        AND a.detected_at BETWEEN i.detected_at - INTERVAL '15 minutes' AND i.closes_at
    GROUP BY i.id
)
SELECT
    i.id,
    i.detected_at,
    i.last_detected_at,
    nullif(i.severe_at, i.detected_at) AS escalated_at,
    i.detectors,
    i.service_name,
    i.metric_name,
    i.value,
    i.expected,
    i.lower,
    i.upper,
    i.score,
    i.deviation_percent,
    i.severity,
    i.evidence,
    i.event_count,
    CASE
        WHEN c.id IS NULL THEN 'closed'
        WHEN a.id IS NULL THEN 'open'
        ELSE 'acknowledged'
    END AS status,
    a.acknowledged_at,
    a.note
FROM incident i
LEFT JOIN current_incident c ON c.id = i.id
LEFT JOIN acknowledged a ON a.id = i.id;
