-- Metric points summed up by series in buckets of 15 seconds, 1 minute and 5 minutes: one row a series, resolution and
-- bucket.
--
-- A series is a metric of one instance of a service with one set of attributes. Gauges and sums: each point is a value.
-- Histograms and summaries: each point stands for many values, of which it tells the count and the sum, and at times
-- the least and the greatest. With cumulative temporality a point tells the total since the start: here count and sum
-- of such histograms are the greatest total of the bucket, which is its last unless the process restarted in between.
-- Of a cumulative sum, max - min is the increase within the bucket, likewise.
-- A point counts as often as it was exported. Points without a recorded value count nowhere.
--
--   resolution             15s, 1m or 5m
--   bucket_at              the beginning of the bucket
--   service_name, instance the latter is service.instance.id, or else k8s.pod.name, host.name or container.id
--   name, type, unit, temporality, attributes
--   count                  values
--   sum, min, max, avg     of the values, in the unit of the metric; avg is sum / count
CREATE MATERIALIZED VIEW metric_rollups AS
WITH
point AS (
    SELECT
        ts,
        service_name,
        coalesce(
            resource_attributes['service.instance.id'],
            resource_attributes['k8s.pod.name'],
            resource_attributes['host.name'],
            resource_attributes['container.id']
        ) AS instance,
        name,
        type,
        unit,
        temporality,
        attributes,
        CASE WHEN value IS NULL THEN count ELSE 1 END AS count,
        coalesce(value, sum) AS sum,
        coalesce(value, min) AS min,
        coalesce(value, max) AS max
    FROM metrics
    WHERE value IS NOT NULL OR count IS NOT NULL
),
placed AS (
    SELECT '15s' AS resolution, date_bin(INTERVAL '15 seconds', ts) AS bucket_at, * FROM point
    UNION ALL
    SELECT '1m', date_bin(INTERVAL '1 minute', ts), * FROM point
    UNION ALL
    SELECT '5m', date_bin(INTERVAL '5 minutes', ts), * FROM point
),
rollup AS (
    SELECT
        resolution,
        bucket_at,
        service_name,
        instance,
        name,
        type,
        unit,
        temporality,
        attributes,
        type = 'summary' OR (type <> 'sum' AND temporality IS NOT DISTINCT FROM 'cumulative') AS is_total,
        sum(count) AS count_sum,
        max(count) AS count_max,
        sum(sum) AS sum_sum,
        max(sum) AS sum_max,
        min(min) AS min,
        max(max) AS max
    FROM placed
    GROUP BY resolution, bucket_at, service_name, instance, name, type, unit, temporality, attributes
)
SELECT
    resolution,
    bucket_at,
    service_name,
    instance,
    name,
    type,
    unit,
    temporality,
    attributes,
    CASE WHEN is_total THEN count_max ELSE count_sum END AS count,
    CASE WHEN is_total THEN sum_max ELSE sum_sum END AS sum,
    min,
    max,
    CASE WHEN is_total THEN sum_max ELSE sum_sum END
        / nullif(CASE WHEN is_total THEN count_max ELSE count_sum END, 0)::double AS avg
FROM rollup;
