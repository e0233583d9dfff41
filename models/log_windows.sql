-- What services usually log in five minutes: an isolation forest over log_window_features, scored as in Liu, Ting and
-- Zhou, "Isolation Forest" (2008).
--
-- A forest tells apart what varies in its rows: a number that was always the same is never unusual, and one beyond all that
-- there were is as unusual as the most extreme of them. Patterns that are new are found without it (log_anomalies).
--
-- Trained anew each day on the seven days before, from a hundred rows on; a version is kept for seven days.
CREATE MODEL log_windows USING isolation_forest
WITH (trees = 100, sample_size = 256, seed = 1, retrain = '1 day', window = '7 days', keep = '7 days', rows_min = 100) AS
SELECT window_at, record_count, template_count, new_template_count, warn_ratio, error_ratio, hour_of_day
FROM log_window_features;
