-- Log records by service and severity, per minute.
--
--   minute_at            the beginning of the minute
--   service_name         null where the service is not known
--   severity_text        as it was given, or else by severity_number: TRACE, DEBUG, INFO, WARN, ERROR or FATAL; null
--                        where neither was given
--   record_count         records; one counts as often as it was exported
--   records_per_second   their rate over the minute
CREATE MATERIALIZED VIEW log_rates AS
SELECT
    date_bin(INTERVAL '1 minute', ts) AS minute_at,
    service_name,
    coalesce(
        severity_text,
        CASE
            WHEN severity_number BETWEEN 1 AND 4 THEN 'TRACE'
            WHEN severity_number BETWEEN 5 AND 8 THEN 'DEBUG'
            WHEN severity_number BETWEEN 9 AND 12 THEN 'INFO'
            WHEN severity_number BETWEEN 13 AND 16 THEN 'WARN'
            WHEN severity_number BETWEEN 17 AND 20 THEN 'ERROR'
            WHEN severity_number BETWEEN 21 AND 24 THEN 'FATAL'
        END
    ) AS severity_text,
    count(*) AS record_count,
    count(*) / 60.0 AS records_per_second
FROM logs
GROUP BY 1, 2, 3;
