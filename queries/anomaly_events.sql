-- What detectors found unusual, in one shape, one row a series, detector and time. Minutes and windows are judged once they
-- have ended by the stream clock.
--
--   detected_at             when it was: the minute or the window, or the first line of a log pattern
--   detector                baseline      a minute against its season (baselines)
--                           three_sigma   a minute more than three deviations from the last day, once there are thirty
--                                         minutes: above it for error_ratio and log_error_rate, on either side for
--                                         log_records_per_span, and for latency_ms_p50 six above and twice the mean; other
--                                         metrics vary too much for that
--                           change_point  another level (change_points)
--                           requests      a quarter of an hour of an endpoint that is like no other (request_anomalies)
--                           logs          five minutes of logs that are like no other (log_anomalies)
--                           log_pattern   a pattern of WARN or above that is seen for the first time (log_anomalies)
--   service_name
--   metric_name             as in performance_metrics; requests and the endpoint, logs, or the pattern
--   value                   what there was: for requests the latency_ms_p95, for logs and a pattern the records
--   expected, lower, upper  what was expected, and how far around it is normal; null where there is no such bound
--   score                   above 1 is anomalous; for change_point a third of its size in deviations; for requests and logs
--                           1 at the 0.6 of the model and 3 at its 0.8; for a pattern by its severity
--   deviation_percent       how far the value is from what was expected, in percent of that; null where that is 0
--   severity                by score: low, medium (from 1.5), high (from 2), critical (from 3)
--   evidence                what speaks for it, in words
CREATE MATERIALIZED VIEW anomaly_events AS
WITH
sigma AS (
    SELECT
        minute_at,
        service_name,
        metric_name,
        value,
        three_sigma(value, window => 1440, min_samples => 30)
            OVER (PARTITION BY service_name, metric_name ORDER BY minute_at) AS judged
    FROM performance_metrics
    WHERE metric_name IN ('error_ratio', 'log_error_rate', 'log_records_per_span', 'latency_ms_p50')
        AND minute_at <= now() - INTERVAL '1 minute'
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
        score,
        concat(
            'usually from ', round(lower, 3)::text, ' to ', round(upper, 3)::text,
            ' at this time of day, by the fourteen days before'
        ) AS evidence
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
        judged['score'],
        concat(
            'a mean of ', round(judged['mean'], 3)::text, ' with a deviation of ',
            round(judged['deviation'], 3)::text, ' in the last 1440 minutes that have a value'
        )
    FROM sigma
    WHERE judged['anomalous']
        AND CASE metric_name
            WHEN 'log_records_per_span' THEN true
            WHEN 'latency_ms_p50' THEN judged['score'] > 2 AND value > 2 * judged['mean']
            ELSE value > judged['mean']
        END
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
        abs(size_deviations) / 3,
        concat(
            'a level of ', round(mean_before, 3)::text, ' before and ', round(mean_after, 3)::text,
            ' since, certain after ', certain_after::text, ' minutes'
        )
    FROM change_points
    UNION ALL
    SELECT
        detected_at,
        'requests',
        service_name,
        concat('requests ', operation),
        latency_ms_p95,
        latency_ms_p95 / power(2.0, latency_p95_change),
        NULL,
        NULL,
        10 * score - 5,
        concat(
            request_count::text, ' requests, ', round(100 * error_ratio, 1)::text, ' % failed, latency p50 ',
            round(latency_ms_p50, 3)::text, ' ms, p95 ', round(latency_ms_p95, 3)::text, ' ms, p99 ',
            round(latency_ms_p99, 3)::text, ' ms'
        )
    FROM request_anomalies
    UNION ALL
    SELECT
        detected_at,
        CASE kind WHEN 'window' THEN 'logs' ELSE 'log_pattern' END,
        service_name,
        coalesce(template, 'logs'),
        record_count::double,
        CASE kind WHEN 'window' THEN NULL ELSE 0.0 END,
        NULL,
        CASE kind WHEN 'window' THEN NULL ELSE 0.0 END,
        CASE
            WHEN kind = 'window' THEN 10 * score - 5
            WHEN severity = 'critical' THEN 3.0
            WHEN severity = 'high' THEN 2.0
            ELSE 1.5
        END,
        CASE kind
            WHEN 'window' THEN concat(
                record_count::text, ' records of ', template_count::text, ' templates, ', new_template_count::text,
                ' of them new, ', round(100 * warn_ratio, 1)::text, ' % of WARN, ',
                round(100 * error_ratio, 1)::text, ' % of ERROR'
            )
            ELSE concat('first: ', sample)
        END
    FROM log_anomalies
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
    END AS severity,
    evidence
FROM event;
