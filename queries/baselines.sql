-- What is expected of every series of performance_metrics, by its season of a day and its level.
--
-- A minute has a row once it has ended by the stream clock. It is measured against the fit of the fourteen days before the
-- last midnight (UTC), once there are two of them; before that all but the first columns are null. Later minutes change
-- nothing about a row; a late or corrected one changes the rows of the days after it.
--
--   minute_at, service_name, metric_name, value   as in performance_metrics
--   expected, lower, upper                        the value expected, and two deviations of past residuals around it
--   residual                                      value - expected
--   score                                         the size of the residual in units of upper - expected
--   anomalous                                     whether the score is above 1
CREATE MATERIALIZED VIEW baselines AS
SELECT
    minute_at,
    service_name,
    metric_name,
    value,
    fit['expected'] AS expected,
    fit['lower'] AS lower,
    fit['upper'] AS upper,
    fit['residual'] AS residual,
    fit['score'] AS score,
    fit['anomalous'] AS anomalous
FROM (
    SELECT
        minute_at,
        service_name,
        metric_name,
        value,
        stl(value, period => 1440, step => INTERVAL '1 minute')
            OVER (PARTITION BY service_name, metric_name ORDER BY minute_at) AS fit
    FROM performance_metrics
    WHERE minute_at <= now() - INTERVAL '1 minute'
) AS fitted;
