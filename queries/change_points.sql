-- When the level of a series of performance_metrics became another, one row a change.
--
-- The segmentation of each series into levels that costs least (PELT, penalty 3 ln n over the standard deviation), with
-- at least ten minutes to a level. A change that is followed by few minutes may yet turn out to be none.
--
-- Where baselines knows what is expected of a series, the levels are those of value - expected, so that a season is no
-- change; the minutes before are a series of their own, so that the first expectation is none either.
--
--   changed_at                the first minute of the new level
--   service_name, metric_name as in performance_metrics
--   mean_before, mean_after   the levels before and after it, in the unit of the metric; with what is expected of
--                             changed_at added, where that is known
--   size                      mean_after - mean_before
--   size_deviations           the size in standard deviations of the values around their levels
--   certain_after             how many more minutes it took until it was certain
CREATE MATERIALIZED VIEW change_points AS
SELECT
    minute_at AS changed_at,
    service_name,
    metric_name,
    level['mean_before'] + coalesce(expected, 0.0) AS mean_before,
    level['mean_after'] + coalesce(expected, 0.0) AS mean_after,
    level['size'] AS size,
    level['size_deviations'] AS size_deviations,
    level['certain_after'] AS certain_after
FROM (
    SELECT
        minute_at,
        service_name,
        metric_name,
        expected,
        change_points(
            CASE
                WHEN expected IS NULL THEN value
                -- Less is rounding, which has levels too.
                WHEN abs(residual) > 1e-9 * abs(expected) THEN residual
                ELSE 0.0
            END
        ) OVER (PARTITION BY service_name, metric_name, expected IS NULL ORDER BY minute_at) AS level
    FROM baselines
) AS segmented
WHERE level['is_change_point'];
