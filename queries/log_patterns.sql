-- The patterns of log lines, one row a service and pattern: the templates of log_templates, those that differ in words
-- that act as variables (five of them or more in one place) as one.
--
--   service_name                 null where the service is not known
--   template                     with <*> for what is variable; null for records without a text
--   record_count                 records; one counts as often as it was exported
--   first_seen_at, last_seen_at  when there was the first of them, and the last
--   severity                     of the most severe: TRACE, DEBUG, INFO, WARN, ERROR or FATAL; null where none was given
--   sample                       one of the lines
--   is_new                       whether it was first seen within the last hour, ten minutes or more after the service
CREATE MATERIALIZED VIEW log_patterns AS
WITH
merged AS (
    SELECT
        service_name,
        log_pattern(template) OVER (PARTITION BY service_name, log_merge_key(template)) AS pattern,
        record_count,
        first_seen_at,
        last_seen_at,
        severity_number,
        sample
    FROM log_templates
),
pattern AS (
    SELECT
        service_name,
        pattern AS template,
        sum(record_count) AS record_count,
        min(first_seen_at) AS first_seen_at,
        max(last_seen_at) AS last_seen_at,
        max(severity_number) AS severity_number,
        min(sample) AS sample
    FROM merged
    GROUP BY 1, 2
),
service AS (
    SELECT service_name, min(first_seen_at) AS first_seen_at FROM log_templates GROUP BY 1
),
recent AS (
    SELECT p.service_name, p.template
    FROM pattern p JOIN service s ON p.service_name IS NOT DISTINCT FROM s.service_name
    WHERE p.first_seen_at > now() - INTERVAL '1 hour' AND p.first_seen_at > s.first_seen_at + INTERVAL '10 minutes'
)
SELECT
    p.service_name,
    p.template,
    p.record_count,
    p.first_seen_at,
    p.last_seen_at,
    CASE
        WHEN p.severity_number BETWEEN 1 AND 4 THEN 'TRACE'
        WHEN p.severity_number BETWEEN 5 AND 8 THEN 'DEBUG'
        WHEN p.severity_number BETWEEN 9 AND 12 THEN 'INFO'
        WHEN p.severity_number BETWEEN 13 AND 16 THEN 'WARN'
        WHEN p.severity_number BETWEEN 17 AND 20 THEN 'ERROR'
        WHEN p.severity_number BETWEEN 21 AND 24 THEN 'FATAL'
    END AS severity,
    p.sample,
    EXISTS (
        SELECT 1 FROM recent r
        WHERE (r.service_name IS NOT DISTINCT FROM p.service_name) AND (r.template IS NOT DISTINCT FROM p.template)
    ) AS is_new
FROM pattern p;
