-- When the level of a series of performance_metrics became another, one row a change.
--
-- The segmentation of each series into levels that costs least (PELT, penalty 3 ln n over the standard deviation), with
-- at least ten minutes to a level. A change that is followed by few minutes may yet turn out to be none.
--
--   changed_at                the first minute of the new level
--   service_name, metric_name as in performance_metrics
--   mean_before, mean_after   the levels before and after it
--   size                      mean_after - mean_before
--   size_deviations           the size in standard deviations of the values around their levels
--   certain_after             how many more minutes it took until it was certain
CREATE MATERIALIZED VIEW change_points AS
SELECT
    minute_at AS changed_at,
    service_name,
    metric_name,
    level['mean_before'] AS mean_before,
    level['mean_after'] AS mean_after,
    level['size'] AS size,
    level['size_deviations'] AS size_deviations,
    level['certain_after'] AS certain_after
FROM (
    SELECT
        minute_at,
        service_name,
        metric_name,
        change_points(value) OVER (PARTITION BY service_name, metric_name ORDER BY minute_at) AS level
    FROM performance_metrics
) AS segmented
WHERE level['is_change_point'];
