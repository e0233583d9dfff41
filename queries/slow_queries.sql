-- What databases were asked and how long it took, one row a service, statement and hour.
--
-- A query is a CLIENT span with an attribute db.system.name or db.system. Statements that differ only in their numbers
-- and quoted texts, or in how many of them a list has, are one: these are replaced by `?`. A span counts once however
-- often it was exported, in the hour in which it began.
--
--   hour_at                          the beginning of the hour
--   service_name                     who asked; null where the service is not known
--   db_system                        postgresql, redis, ...
--   statement                        the first given of db.query.text, db.statement, db.query.summary,
--                                    db.operation.name, db.operation and the name of the span; 1,000 characters of it
--   call_count, error_count          queries, and those whose status is ERROR
--   total_ms, avg_latency_ms         durations in milliseconds, added up and on average
--   latency_ms_p50, latency_ms_p99   percentiles of them, within 1 %
CREATE MATERIALIZED VIEW slow_queries AS
WITH query AS (
    SELECT DISTINCT
        trace_id,
        span_id,
        service_name,
        coalesce(attributes['db.system.name'], attributes['db.system']) AS db_system,
        left(
            regexp_replace(
                regexp_replace(
                    coalesce(
                        attributes['db.query.text'],
                        attributes['db.statement'],
                        attributes['db.query.summary'],
                        attributes['db.operation.name'],
                        attributes['db.operation'],
                        name
                    ),
                    '''([^'']|'''')*''|\b[0-9]+([.][0-9]+)?\b',
                    '?',
                    'g'
                ),
                '[?](\s*,\s*[?])+',
                '?',
                'g'
            ),
            1000
        ) AS statement,
        started_at,
        duration_ns,
        status_code = 'ERROR' AS is_error
    FROM spans
    WHERE kind = 'CLIENT' AND (attributes['db.system.name'] IS NOT NULL OR attributes['db.system'] IS NOT NULL)
)
SELECT
    date_bin(INTERVAL '1 hour', started_at) AS hour_at,
    service_name,
    db_system,
    statement,
    count(*) AS call_count,
    count(*) FILTER (WHERE is_error) AS error_count,
    sum(duration_ns) / 1e6 AS total_ms,
    avg(duration_ns) / 1e6 AS avg_latency_ms,
    approx_percentile(duration_ns, 0.50) / 1e6 AS latency_ms_p50,
    approx_percentile(duration_ns, 0.99) / 1e6 AS latency_ms_p99
FROM query
GROUP BY 1, service_name, db_system, statement;
