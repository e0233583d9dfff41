-- Its PostgreSQL source: on connect, the query builder, and a panel.
SELECT current_setting('server_version_num')::int/100 as version;
SELECT CAST(current_setting('server_version_num') AS INT)/100;
SELECT extname, extversion FROM pg_extension WHERE extname = 'timescaledb';
SELECT CASE WHEN quote_ident(table_schema) IN (
         SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
         FROM generate_series(
                array_lower(string_to_array(current_setting('search_path'),','),1),
                array_upper(string_to_array(current_setting('search_path'),','),1)) as i,
              string_to_array(current_setting('search_path'),',') s)
       THEN quote_ident(table_name) ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS "table"
FROM information_schema.tables
WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache')
ORDER BY CASE WHEN quote_ident(table_schema) = 'public' THEN 0 ELSE 1 END, 1;
SELECT quote_ident(column_name) AS "column", data_type AS "type" FROM information_schema.columns
WHERE quote_ident(table_name) = 'spans' OR quote_ident(table_schema) || '.' || quote_ident(table_name) = 'spans';
SELECT table_name FROM information_schema.tables WHERE table_schema IN ('public') ORDER BY table_name;
SELECT date_bin('1 minute', started_at) AS time, service_name AS metric, count(*) AS value FROM spans
WHERE started_at BETWEEN '2026-01-01T00:00:00Z' AND '2026-01-01T06:00:00Z' GROUP BY 1, 2 ORDER BY 1;
SELECT floor(extract(epoch from started_at)/60)*60 AS "time", count(*) FROM spans
WHERE started_at >= '2026-01-01T00:00:00Z' AND started_at <= '2026-01-01T06:00:00Z' GROUP BY 1 ORDER BY 1;
