-- What a trace waited for: from its root the child that ended last, of this again, and so on; one row a span of the way.
--
-- Of traces that began within the last 15 minutes of stream time; spans that began before do not count. A span counts
-- once however often it was exported. A trace whose root has not come is not listed, and no more than 256 levels are.
--
--   trace_id, span_id
--   depth                     0 for the root, then one more for each span
--   service_name, operation   of the span
--   started_at, duration_ms   of the span; the latter in milliseconds
--   self_ms                   the part of it in which the next span of the way did not run: what this span took itself
CREATE MATERIALIZED VIEW trace_critical_path AS
WITH RECURSIVE
span AS (
    SELECT DISTINCT
        trace_id,
        span_id,
        parent_span_id,
        service_name,
        name,
        started_at,
        ended_at,
        duration_ns
    FROM spans
    WHERE started_at > now() - INTERVAL '15 minutes'
),
last_end AS (
    SELECT trace_id, parent_span_id, max(ended_at) AS ended_at
    FROM span
    WHERE parent_span_id IS NOT NULL
    GROUP BY trace_id, parent_span_id
),
-- Of several that ended at once the last in order of their ids.
last_child AS (
    SELECT span.trace_id, span.parent_span_id, max(span.span_id) AS span_id
    FROM span
    JOIN last_end
        ON last_end.trace_id = span.trace_id
        AND last_end.parent_span_id = span.parent_span_id
        AND last_end.ended_at = span.ended_at
    GROUP BY span.trace_id, span.parent_span_id
),
child AS (
    SELECT span.trace_id, span.parent_span_id, span.span_id, span.started_at, span.ended_at
    FROM span
    JOIN last_child
        ON last_child.trace_id = span.trace_id
        AND last_child.parent_span_id = span.parent_span_id
        AND last_child.span_id = span.span_id
),
step AS (
    SELECT
        span.trace_id,
        span.span_id,
        span.parent_span_id,
        span.service_name,
        span.name,
        span.started_at,
        span.duration_ns,
        child.span_id AS child_span_id,
        greatest(
            0,
            least(span.ended_at, child.ended_at)::bigint - greatest(span.started_at, child.started_at)::bigint
        ) AS child_ns
    FROM span
    LEFT JOIN child ON child.trace_id = span.trace_id AND child.parent_span_id = span.span_id
),
path AS (
    SELECT trace_id, span_id, service_name, name, started_at, duration_ns, child_span_id, child_ns, 0 AS depth
    FROM step
    WHERE parent_span_id IS NULL
    UNION
    SELECT
        step.trace_id,
        step.span_id,
        step.service_name,
        step.name,
        step.started_at,
        step.duration_ns,
        step.child_span_id,
        step.child_ns,
        path.depth + 1
    FROM path
    JOIN step
        ON step.trace_id = path.trace_id
        AND step.span_id = path.child_span_id
        AND step.parent_span_id = path.span_id
    WHERE path.depth < 255
)
SELECT
    trace_id,
    depth,
    span_id,
    service_name,
    name AS operation,
    started_at,
    duration_ns / 1e6 AS duration_ms,
    (duration_ns - CASE WHEN child_span_id IS NULL THEN 0 ELSE child_ns END) / 1e6 AS self_ms
FROM path;
