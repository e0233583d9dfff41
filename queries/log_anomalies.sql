-- What is unusual in logs: windows of five minutes that the model log_windows scores as such, and patterns of WARN and
-- above that are seen for the first time, ten minutes or more after their service was.
--
-- Not maintained by itself: its text stands for it in what reads it. A window is scored once it has ended by the stream
-- clock, by the version of the model valid when it began; without one it has no row.
--
--   detected_at          the beginning of the window, or the first line of the pattern
--   kind                 window or new_pattern
--   service_name         null where the service is not known
--   template, sample     the pattern and a line of it; null for a window
--   record_count         records
--   template_count, new_template_count, warn_ratio, error_ratio
--                        as in log_window_features; null for a pattern
--   score                of the window, from 0 to 1: about 0.5 is what most windows have, near 1 is clearly an anomaly (Liu,
--                        Ting and Zhou 2008); null for a pattern
--   severity             of a window by score: low (from 0.6), medium (0.65), high (0.7) or critical (0.8); of a pattern by
--                        its severity: medium (WARN), high (ERROR) or critical (FATAL)
CREATE VIEW log_anomalies AS
WITH
scored AS (
    SELECT
        window_at,
        service_name,
        record_count,
        template_count,
        new_template_count,
        warn_ratio,
        error_ratio,
        anomaly_score(
            log_windows,
            record_count,
            template_count,
            new_template_count,
            warn_ratio,
            error_ratio,
            hour_of_day,
            at => window_at
        ) AS score
    FROM log_window_features
    WHERE window_at <= now() - INTERVAL '5 minutes'
),
service AS (
    SELECT service_name, min(first_seen_at) AS first_seen_at FROM log_templates GROUP BY 1
)
SELECT
    window_at AS detected_at,
    'window' AS kind,
    service_name,
    NULL::text AS template,
    NULL::text AS sample,
    record_count,
    template_count,
    new_template_count,
    warn_ratio,
    error_ratio,
    score,
    CASE
        WHEN score >= 0.8 THEN 'critical'
        WHEN score >= 0.7 THEN 'high'
        WHEN score >= 0.65 THEN 'medium'
        ELSE 'low'
    END AS severity
FROM scored
WHERE score >= 0.6
UNION ALL
SELECT
    p.first_seen_at,
    'new_pattern',
    p.service_name,
    p.template,
    p.sample,
    p.record_count,
    NULL::bigint,
    NULL::bigint,
    NULL::double,
    NULL::double,
    NULL::double,
    CASE p.severity WHEN 'FATAL' THEN 'critical' WHEN 'ERROR' THEN 'high' ELSE 'medium' END
FROM log_patterns p
JOIN service s ON p.service_name IS NOT DISTINCT FROM s.service_name
WHERE p.severity IN ('WARN', 'ERROR', 'FATAL') AND p.first_seen_at > s.first_seen_at + INTERVAL '10 minutes';
