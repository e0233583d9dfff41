-- Log lines that differ only in what is variable by its form (numbers, addresses, identifiers, quoted texts ...), one row
-- a service and template.
--
--   service_name                 null where the service is not known
--   template                     the line with <*> for what is variable; null for records without a text
--   record_count                 records; one counts as often as it was exported
--   first_seen_at, last_seen_at  when there was the first of them, and the last
--   severity_number              the greatest of them
--   sample                       one of the lines: the first in alphabetical order
CREATE MATERIALIZED VIEW log_templates AS
SELECT
    service_name,
    log_template(body) AS template,
    count(*) AS record_count,
    min(ts) AS first_seen_at,
    max(ts) AS last_seen_at,
    max(severity_number) AS severity_number,
    min(body) AS sample
FROM logs
GROUP BY 1, 2;
