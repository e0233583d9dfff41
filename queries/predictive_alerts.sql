-- What will cross a limit within half an hour, if it goes on as in the last: one row a series whose line does.
--
-- A line is fitted (least squares) to the minutes of the last half hour that have ended, once there are fifteen of them;
-- where baselines knows the season of a series, to what is left without it, and what the season will add in half an hour,
-- as it did a day ago, is added again. The limits stand in `bound`, and for gauges of a utilization in `used`: copy the
-- file to change them.
--
--   predicted_at               the last minute that the line is fitted to
--   alert_type                 service_degradation: an error_ratio of 5 %; performance_issue: a latency_ms_p95 of 500 ms;
--                              capacity: 90 % of something that a gauge named *.utilization tells (of several instances or
--                              devices the fullest)
--   service_name, metric_name  as in performance_metrics or metrics
--   value, predicted_value     of the line at predicted_at, and half an hour later
--   limit_value                the limit, in the unit of the metric
--   crosses_at                 when the line crosses it
--   confidence                 the probability that a value half an hour later is beyond the limit if the line goes on and
--                              values scatter around it as they do: from 0.8 to 1 (the logistic approximation of the normal
--                              distribution, within 0.01)
CREATE MATERIALIZED VIEW predictive_alerts AS
WITH
bound AS (
    SELECT 'error_ratio' AS metric_name, 'service_degradation' AS alert_type, 0.05 AS limit_value
    UNION ALL
    SELECT 'latency_ms_p95', 'performance_issue', 500.0
),
used AS (
    SELECT date_bin(INTERVAL '1 minute', ts) AS minute_at, service_name, name AS metric_name, max(value) AS value
    FROM metrics
    WHERE name LIKE '%.utilization' AND type = 'gauge'
    GROUP BY 1, 2, 3
    HAVING date_bin(INTERVAL '1 minute', ts) > now() - INTERVAL '31 minutes'
        AND date_bin(INTERVAL '1 minute', ts) <= now() - INTERVAL '1 minute'
),
point AS (
    SELECT l.minute_at, l.service_name, l.metric_name, b.alert_type, b.limit_value, l.value, l.expected
    FROM baselines l
    JOIN bound b ON b.metric_name = l.metric_name
    WHERE l.minute_at > now() - INTERVAL '31 minutes'
    UNION ALL
    SELECT minute_at, service_name, metric_name, 'capacity', 0.9, value, NULL FROM used
),
-- As it is, and without its season.
fitted AS (
    SELECT minute_at, service_name, metric_name, alert_type, limit_value, false AS is_seasonal, value FROM point
    UNION ALL
    SELECT minute_at, service_name, metric_name, alert_type, limit_value, true, value - expected
    FROM point
    WHERE expected IS NOT NULL
),
-- The line; minutes are since 1970.
line AS (
    SELECT
        service_name,
        metric_name,
        alert_type,
        limit_value,
        is_seasonal,
        max(minute_at) AS predicted_at,
        max(date_part('epoch', minute_at) / 60) AS minute,
        count(*) AS minute_count,
        regr_slope(value, date_part('epoch', minute_at) / 60) AS slope,
        regr_avgx(value, date_part('epoch', minute_at) / 60) AS mean_minute,
        regr_avgy(value, date_part('epoch', minute_at) / 60) AS mean_value,
        regr_sxx(value, date_part('epoch', minute_at) / 60) AS sxx,
        regr_syy(value, date_part('epoch', minute_at) / 60) AS syy
    FROM fitted
    GROUP BY service_name, metric_name, alert_type, limit_value, is_seasonal
    HAVING count(*) >= 15
),
-- What is expected now and was a day ago, and what was half an hour later then.
season AS (
    SELECT
        present.minute_at,
        present.service_name,
        present.metric_name,
        present.expected,
        present.expected + later.expected - earlier.expected AS expected_later
    FROM baselines present
    JOIN baselines earlier
        ON earlier.metric_name = present.metric_name
        AND (earlier.service_name IS NOT DISTINCT FROM present.service_name)
        AND earlier.minute_at = present.minute_at - INTERVAL '1 day'
    JOIN baselines later
        ON later.metric_name = present.metric_name
        AND (later.service_name IS NOT DISTINCT FROM present.service_name)
        AND later.minute_at = present.minute_at - INTERVAL '1 day' + INTERVAL '30 minutes'
    WHERE present.metric_name IN (SELECT metric_name FROM bound)
        AND present.minute_at > now() - INTERVAL '31 minutes'
        AND earlier.minute_at > now() - INTERVAL '1 day 31 minutes' AND earlier.minute_at <= now() - INTERVAL '1 day'
        AND later.minute_at > now() - INTERVAL '1 day' AND later.minute_at <= now() - INTERVAL '23 hours'
        AND earlier.expected IS NOT NULL
        AND later.expected IS NOT NULL
        AND present.expected IS NOT NULL
),
predicted AS (
    SELECT
        l.service_name,
        l.metric_name,
        l.alert_type,
        l.limit_value,
        l.is_seasonal,
        l.predicted_at,
        coalesce(s.expected, 0.0) + l.mean_value + l.slope * (l.minute - l.mean_minute) AS value,
        coalesce(s.expected_later, 0.0) + l.mean_value + l.slope * (l.minute + 30 - l.mean_minute) AS predicted_value,
        -- Of one more value half an hour later.
        sqrt(
            greatest(l.syy - l.slope * l.slope * l.sxx, 0.0) / (l.minute_count - 2)
            * (1 + 1.0 / l.minute_count + power(l.minute + 30 - l.mean_minute, 2) / l.sxx)
        ) AS standard_error
    FROM line l
    LEFT JOIN season s
        ON s.metric_name = l.metric_name
        AND (s.service_name IS NOT DISTINCT FROM l.service_name)
        AND s.minute_at = l.predicted_at
    -- With its season where that is known, and else as it is.
    WHERE l.is_seasonal = (s.minute_at IS NOT NULL)
),
alert AS (
    SELECT
        *,
        1 / (1 + exp(-1.702 * (predicted_value - limit_value) / greatest(standard_error, 1e-9 * limit_value)))
            AS confidence
    FROM predicted
    WHERE value < limit_value AND predicted_value > limit_value
)
SELECT
    predicted_at,
    alert_type,
    service_name,
    metric_name,
    value,
    predicted_value,
    limit_value,
    to_timestamp(
        date_part('epoch', predicted_at) + round(1800 * (limit_value - value) / (predicted_value - value))
    )::timestamptz AS crosses_at,
    confidence
FROM alert
WHERE confidence >= 0.8;
