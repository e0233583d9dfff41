-- Where the failure of a trace began: from a failed root down through spans that failed, to those below which none did.
--
-- Of traces that began within the last 15 minutes of stream time; spans that began before do not count. A span counts
-- once however often it was exported. One row an origin: where several branches failed, the deepest is worth the first
-- look. A failed span below one that did not fail is none: something coped with it. A trace whose root has not come is
-- not listed, and nothing deeper than 256 levels is.
--
--   trace_id
--   root_service_name, root_operation   of the failed span without parent
--   span_id, service_name, operation    of the span in which it began
--   depth                               spans between the two, counting one of them; 0 where it is the root
--   started_at                          when the origin began
CREATE MATERIALIZED VIEW trace_error_origins AS
WITH RECURSIVE
failed AS (
    SELECT DISTINCT trace_id, span_id, parent_span_id, service_name, name, started_at
    FROM spans
    WHERE status_code = 'ERROR' AND started_at > now() - INTERVAL '15 minutes'
),
chain AS (
    SELECT
        trace_id,
        service_name AS root_service_name,
        name AS root_operation,
        span_id,
        service_name,
        name AS operation,
        0 AS depth,
        started_at
    FROM failed
    WHERE parent_span_id IS NULL
    UNION
    SELECT
        chain.trace_id,
        chain.root_service_name,
        chain.root_operation,
        failed.span_id,
        failed.service_name,
        failed.name,
        chain.depth + 1,
        failed.started_at
    FROM chain
    JOIN failed ON failed.trace_id = chain.trace_id AND failed.parent_span_id = chain.span_id
    WHERE chain.depth < 255
)
SELECT
    trace_id,
    root_service_name,
    root_operation,
    span_id,
    service_name,
    operation,
    depth,
    started_at
FROM chain
WHERE NOT EXISTS (
    SELECT 1
    FROM failed AS below
    WHERE below.trace_id = chain.trace_id AND below.parent_span_id = chain.span_id
);
