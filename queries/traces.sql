-- Traces, one row each.
--
-- A span counts once however often it was exported. A trace whose root has not come has no root_service_name and no
-- root_name; of several roots, either is the last in alphabetical order.
--
--   trace_id
--   root_service_name, root_name   service and name of the span without parent
--   started_at, ended_at           from the beginning of its first span to the end of its last
--   duration_ms                    between the two, in milliseconds
--   span_count, error_count        spans, and those whose status is ERROR
--   service_count                  services that took part
CREATE MATERIALIZED VIEW traces AS
WITH trace AS (
    SELECT
        trace_id,
        max(service_name) FILTER (WHERE parent_span_id IS NULL) AS root_service_name,
        max(name) FILTER (WHERE parent_span_id IS NULL) AS root_name,
        min(started_at) AS started_at,
        max(ended_at) AS ended_at,
        count(DISTINCT span_id) AS span_count,
        count(DISTINCT service_name) AS service_count,
        count(DISTINCT span_id) FILTER (WHERE status_code = 'ERROR') AS error_count
    FROM spans
    GROUP BY trace_id
)
SELECT
    trace_id,
    root_service_name,
    root_name,
    started_at,
    ended_at,
    (ended_at::bigint - started_at::bigint) / 1e6 AS duration_ms,
    span_count,
    service_count,
    error_count
FROM trace;
