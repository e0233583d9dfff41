-- What detectors found unusual, in one shape, one row a series, detector and time.
--
--   detected_at             when it was: the minute of a metric, the first line of a log pattern
--   detector                baseline (baselines), three_sigma (more than three deviations from the last day, once there are
--                           a hundred minutes), change_point (change_points) or log_pattern (a pattern of WARN or above that
--                           is seen for the first time, an hour after its service was)
--   service_name
--   metric_name             as in performance_metrics; the pattern for log_pattern
--   value                   what there was; records for log_pattern
--   expected, lower, upper  what was expected, and how far around it is normal; null where there is no such bound
--   score                   above 1 is anomalous; for change_point a third of its size in deviations
--   deviation_percent       how far the value is from what was expected, in percent of that; null where that is 0
--   severity                by score: low, medium (from 1.5), high (from 2), critical (from 3)
CREATE MATERIALIZED VIEW anomaly_events AS
WITH
sigma AS (
    SELECT
        minute_at,
        service_name,
        metric_name,
        value,
        three_sigma(value, window => 1440)
            OVER (PARTITION BY service_name, metric_name ORDER BY minute_at) AS judged
    FROM performance_metrics
),
pattern AS (
    SELECT p.service_name, p.template, p.first_seen_at, p.record_count
    FROM log_patterns p
    JOIN (SELECT service_name, min(first_seen_at) AS first_seen_at FROM log_templates GROUP BY 1) AS s
        ON p.service_name IS NOT DISTINCT FROM s.service_name
    WHERE p.severity IN ('WARN', 'ERROR', 'FATAL') AND p.first_seen_at > s.first_seen_at + INTERVAL '1 hour'
),
event AS (
    SELECT
        minute_at AS detected_at,
        'baseline' AS detector,
        service_name,
        metric_name,
        value,
        expected,
        lower,
        upper,
        score
    FROM baselines
    WHERE anomalous
    UNION ALL
    SELECT
        minute_at,
        'three_sigma',
        service_name,
        metric_name,
        value,
        judged['mean'],
        judged['lower'],
        judged['upper'],
        judged['score']
    FROM sigma
    WHERE judged['anomalous']
    UNION ALL
    SELECT
        changed_at,
        'change_point',
        service_name,
        metric_name,
        mean_after,
        mean_before,
        NULL,
        NULL,
        abs(size_deviations) / 3
    FROM change_points
    UNION ALL
    SELECT first_seen_at, 'log_pattern', service_name, template, record_count::double, 0.0, NULL, 0.0, 2.0 FROM pattern
)
SELECT
    detected_at,
    detector,
    service_name,
    metric_name,
    value,
    expected,
    lower,
    upper,
    score,
    100 * (value - expected) / abs(nullif(expected, 0)) AS deviation_percent,
    CASE
        WHEN score >= 3 THEN 'critical'
        WHEN score >= 2 THEN 'high'
        WHEN score >= 1.5 THEN 'medium'
        ELSE 'low'
    END AS severity
FROM event;
