-- How every service keeps its objectives, one row a service: 99.9 % of requests without an error, and 95 % within 500 ms,
-- over thirty days. The objectives stand in `objective`: copy the file to change them.
--
-- A request is a SERVER or CONSUMER span; it counts once however often it was exported. A burn rate is the error ratio of
-- a period in units of the budget: at 1 the budget lasts thirty days (Google, The Site Reliability Workbook, chapter 5). A
-- period without requests has none. It keeps the counts of each minute of thirty days: 43,200 rows a service.
--
--   service_name
--   objective                        the share of requests that are to succeed
--   request_count, error_count       requests of thirty days, and those whose status is ERROR
--   error_ratio, availability        the share of those, from 0 to 1, and 1 less it
--   error_budget_remaining           the share of the budget that is left: 1 untouched, 0 spent, below 0 overspent
--   burn_rate_5m, _30m, _1h, _6h     of the last so many minutes or hours of the stream clock
--   latency_objective_ms             the duration in milliseconds that a request is to take at most
--   latency_objective, latency_share the share of requests that are to keep it, and the share that does
--   status                           critical: burning above 14.4 over 1 h and 5 min; warning: above 6 over 6 h and 30 min,
--                                    or the budget is spent, or the latency objective is missed; else ok
CREATE MATERIALIZED VIEW service_slo AS
WITH
objective AS (
    SELECT 0.999 AS availability, 0.95 AS latency_share, 500.0 AS latency_ms
),
request AS (
    SELECT DISTINCT trace_id, span_id, service_name, started_at, duration_ns, status_code
    FROM spans
    WHERE kind IN ('SERVER', 'CONSUMER') AND service_name IS NOT NULL
),
minute AS (
    SELECT
        r.service_name,
        date_bin(INTERVAL '1 minute', r.started_at) AS minute_at,
        count(*) AS request_count,
        count(*) FILTER (WHERE r.status_code = 'ERROR') AS error_count,
        count(*) FILTER (WHERE r.duration_ns / 1e6 <= o.latency_ms) AS fast_count
    FROM request r
    CROSS JOIN objective o
    GROUP BY 1, 2
    HAVING date_bin(INTERVAL '1 minute', r.started_at) > now() - INTERVAL '30 days'
),
-- Each minute once for each period that it is in.
counted AS (
    SELECT service_name, '30d' AS period, request_count, error_count, fast_count FROM minute
    UNION ALL
    SELECT service_name, '6h', request_count, error_count, fast_count FROM minute
    WHERE minute_at > now() - INTERVAL '6 hours'
    UNION ALL
    SELECT service_name, '1h', request_count, error_count, fast_count FROM minute
    WHERE minute_at > now() - INTERVAL '1 hour'
    UNION ALL
    SELECT service_name, '30m', request_count, error_count, fast_count FROM minute
    WHERE minute_at > now() - INTERVAL '30 minutes'
    UNION ALL
    SELECT service_name, '5m', request_count, error_count, fast_count FROM minute
    WHERE minute_at > now() - INTERVAL '5 minutes'
),
service AS (
    SELECT
        service_name,
        sum(request_count) FILTER (WHERE period = '30d') AS request_count,
        sum(error_count) FILTER (WHERE period = '30d') AS error_count,
        sum(fast_count) FILTER (WHERE period = '30d') AS fast_count,
        sum(error_count) FILTER (WHERE period = '5m') / (sum(request_count) FILTER (WHERE period = '5m'))::double
            AS error_ratio_5m,
        sum(error_count) FILTER (WHERE period = '30m') / (sum(request_count) FILTER (WHERE period = '30m'))::double
            AS error_ratio_30m,
        sum(error_count) FILTER (WHERE period = '1h') / (sum(request_count) FILTER (WHERE period = '1h'))::double
            AS error_ratio_1h,
        sum(error_count) FILTER (WHERE period = '6h') / (sum(request_count) FILTER (WHERE period = '6h'))::double
            AS error_ratio_6h
    FROM counted
    GROUP BY service_name
),
measured AS (
    SELECT
        s.service_name,
        o.availability AS objective,
        s.request_count,
        s.error_count,
        s.error_count / s.request_count::double AS error_ratio,
        1 - s.error_count / s.request_count::double AS availability,
        1 - s.error_count / s.request_count::double / (1 - o.availability) AS error_budget_remaining,
        s.error_ratio_5m / (1 - o.availability) AS burn_rate_5m,
        s.error_ratio_30m / (1 - o.availability) AS burn_rate_30m,
        s.error_ratio_1h / (1 - o.availability) AS burn_rate_1h,
        s.error_ratio_6h / (1 - o.availability) AS burn_rate_6h,
        o.latency_ms AS latency_objective_ms,
        o.latency_share AS latency_objective,
        s.fast_count / s.request_count::double AS latency_share
    FROM service s
    CROSS JOIN objective o
)
SELECT
    service_name,
    objective,
    request_count,
    error_count,
    error_ratio,
    availability,
    error_budget_remaining,
    burn_rate_5m,
    burn_rate_30m,
    burn_rate_1h,
    burn_rate_6h,
    latency_objective_ms,
    latency_objective,
    latency_share,
    CASE
        WHEN burn_rate_5m > 14.4 AND burn_rate_1h > 14.4 THEN 'critical'
        WHEN burn_rate_30m > 6 AND burn_rate_6h > 6 THEN 'warning'
        WHEN error_budget_remaining <= 0 OR latency_share < latency_objective THEN 'warning'
        ELSE 'ok'
    END AS status
FROM measured;
