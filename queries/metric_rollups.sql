CREATE MATERIALIZED VIEW metric_rollups AS
SELECT
    r.resolution,
    date_bin(r.width, ts) AS bucket_at,
    service_name, name, type, unit, attributes,
    count(*) AS point_count,
    sum(value) AS sum, min(value) AS min, max(value) AS max, avg(value) AS avg
FROM metrics, (VALUES ('15s', INTERVAL '15 seconds'), ('1m', INTERVAL '1 minute'), ('5m', INTERVAL '5 minutes')) AS r (resolution, width)
GROUP BY 1, 2, 3, 4, 5, 6, 7;
