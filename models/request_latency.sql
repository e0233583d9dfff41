-- How requests are usually answered: an isolation forest over the quarters of an hour of all endpoints
-- (request_latency_features), scored as in Liu, Ting and Zhou, "Isolation Forest" (2008).
--
-- All endpoints together: one that is usually fast and is as slow as others is not unusual here (baselines and
-- anomaly_events measure a series against its own past).
--
-- Trained anew each day on the seven days before, from a hundred rows on; a version is kept for a day.
CREATE MODEL request_latency USING isolation_forest
WITH (trees = 100, sample_size = 256, seed = 1, retrain = '1 day', window = '7 days', keep = '1 day', rows_min = 100) AS
SELECT window_at, request_count, error_ratio, latency_ms_p50, latency_ms_p95, latency_ms_p99
FROM request_latency_features;
