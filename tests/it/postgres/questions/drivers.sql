-- What drivers and tools of other languages ask.
SELECT t.typname, t.typtype, t.typelem, r.rngsubtype, t.typbasetype, n.nspname, t.typrelid FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid INNER JOIN pg_catalog.pg_namespace n ON t.typnamespace = n.oid WHERE t.oid = 1184;
SELECT typname AS name, oid, typarray AS array_oid, oid::regtype::text AS regtype, typdelim AS delimiter FROM pg_type t WHERE t.oid = 25;
select pg_catalog.version();
select current_schema();
show standard_conforming_strings;
SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p');
SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace WHERE pg_catalog.pg_class.relkind = ANY (ARRAY['r', 'p', 'f', 'v', 'm']) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname <> 'pg_catalog';
SELECT oid, typname FROM pg_type WHERE typname IN ('hstore', 'citext', 'json');
SELECT set_config('search_path', 'public', false);
SELECT to_regclass('public.spans') IS NOT NULL;
SELECT 'public.spans'::regclass::oid IS NOT NULL;
SELECT relname FROM pg_class WHERE oid = 'spans'::regclass;
SELECT obj_description(oid, 'pg_class') FROM pg_class WHERE relname = 'spans';
