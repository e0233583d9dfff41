-- What the model log_windows is trained on and scores: what a service logged, one row a service and five minutes.
--
-- A record counts as often as it was exported. Rows stay for fifteen days, which is what the versions of the model need:
-- seven days before each, seven days of versions, and one more. So it costs at most 4,320 rows a service.
--
--   window_at                 the beginning of the five minutes
--   service_name              null where the service is not known
--   record_count              records
--   template_count            templates (log_templates) that they are of
--   new_template_count        templates that the service had not logged before
--   warn_ratio, error_ratio   the shares of records of WARN, and of ERROR or FATAL, from 0 to 1
--   hour_of_day               of the window, in UTC, from 0 to 23
CREATE MATERIALIZED VIEW log_window_features WITH (retention = '15 days') AS
WITH seen AS (
    SELECT
        ts AS seen_at,
        service_name,
        true AS is_record,
        log_template(body) AS template,
        coalesce(severity_number BETWEEN 13 AND 16, upper(severity_text) IN ('WARN', 'WARNING')) AS is_warn,
        coalesce(severity_number >= 17, upper(severity_text) IN ('ERROR', 'FATAL')) AS is_error
    FROM logs
    UNION ALL
    -- The first record of each template once more: it is in a window that has a row.
    SELECT first_seen_at, service_name, false, NULL, false, false FROM log_templates
)
SELECT
    date_bin(INTERVAL '5 minutes', seen_at) AS window_at,
    service_name,
    count(*) FILTER (WHERE is_record) AS record_count,
    count(DISTINCT template) AS template_count,
    count(*) FILTER (WHERE NOT is_record) AS new_template_count,
    count(*) FILTER (WHERE is_warn) / greatest(count(*) FILTER (WHERE is_record), 1)::double AS warn_ratio,
    count(*) FILTER (WHERE is_error) / greatest(count(*) FILTER (WHERE is_record), 1)::double AS error_ratio,
    date_part('hour', date_bin(INTERVAL '5 minutes', seen_at)) AS hour_of_day
FROM seen
GROUP BY 1, 2;
