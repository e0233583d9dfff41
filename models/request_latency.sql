-- How the requests of an endpoint change from what they were in the day before: an isolation forest over the quarters of
-- an hour of all endpoints (request_latency_features), scored as in Liu, Ting and Zhou, "Isolation Forest" (2008).
--
-- It is about changes, so that a fast endpoint that becomes as slow as others usually are is unusual.
--
-- Trained anew each day on the seven days before, from a hundred rows on; a version is kept for a day.
CREATE MODEL request_latency USING isolation_forest
WITH (trees = 100, sample_size = 256, seed = 1, retrain = '1 day', window = '7 days', keep = '1 day', rows_min = 100) AS
SELECT
    window_at,
    request_count_change,
    error_ratio_change,
    latency_p50_change,
    latency_p95_change,
    latency_p99_change
FROM request_latency_features;
