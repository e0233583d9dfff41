-- Series of performance_metrics of which nothing has come for five minutes of the stream clock, one row a series.
--
-- That data is missing is said here and is no event of anomaly_events. Not maintained by itself: its text stands for it
-- in what reads it. A series is forgotten when performance_metrics no longer keeps its minutes.
--
--   service_name, metric_name   as in performance_metrics
--   last_seen_at                the last minute that has a value
CREATE VIEW missing_data AS
SELECT service_name, metric_name, max(minute_at) AS last_seen_at
FROM performance_metrics
GROUP BY service_name, metric_name
HAVING max(minute_at) <= now() - INTERVAL '5 minutes';
