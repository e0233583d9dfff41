-- Log records by service and severity, per minute.
CREATE MATERIALIZED VIEW log_rates AS
SELECT
    date_bin(INTERVAL '1 minute', ts) AS minute_at,
    service_name,
    severity_text,
    count(*) AS record_count,
    count(*) / 60.0 AS records_per_second
FROM logs
GROUP BY 1, 2, 3;
