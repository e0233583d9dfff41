//! Statements that change what there is, written as text again.

use std::fmt::Write;

use super::connector::{Alter, CreateSink, CreateSource};
use super::model::CreateModel;
use super::retention::SetRetention;
use super::statement::{CreateView, Statement};
use super::table::CreateTable;

impl Statement {
    /// A text that is parsed to this statement; `None` for one that changes no definition, and for the rows of
    /// tables.
    pub fn definition(&self) -> Option<String> {
        let dropped = |kind: &str, names: &[String], if_exists: bool| {
            let if_exists = if if_exists { "IF EXISTS " } else { "" };
            format!("DROP {kind} {if_exists}{}", list(names))
        };
        match self {
            Statement::CreateView(view) => Some(create_view(view)),
            Statement::CreateModel(model) => Some(create_model(model)),
            Statement::CreateTable(table) => Some(create_table(table)),
            Statement::DropView { names, if_exists } => Some(dropped("VIEW", names, *if_exists)),
            Statement::DropModel { names, if_exists } => Some(dropped("MODEL", names, *if_exists)),
            Statement::DropTable { names, if_exists } => Some(dropped("TABLE", names, *if_exists)),
            Statement::Truncate(names) => Some(format!("TRUNCATE {}", list(names))),
            Statement::CreateSource(source) => Some(source.text(false)),
            Statement::CreateSink(sink) => Some(sink.text(false)),
            Statement::DropConnectors { direction, names, if_exists } => {
                Some(dropped(direction.name(), names, *if_exists))
            }
            Statement::Alter(alter) => Some(altered(alter)),
            Statement::SetRetention(set) => Some(set_retention(set)),
            _ => None,
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

fn options(options: &[(&str, String)]) -> String {
    let options: Vec<String> = options.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if options.is_empty() { String::new() } else { format!(" WITH ({})", options.join(", ")) }
}

fn milliseconds(ms: u64) -> String {
    format!("'{ms} ms'")
}

/// CREATE, with the words that say what becomes of one that exists.
fn create(kind: &str, or_replace: bool, if_not_exists: bool, name: &str) -> String {
    let or_replace = if or_replace { "OR REPLACE " } else { "" };
    let if_not_exists = if if_not_exists { "IF NOT EXISTS " } else { "" };
    format!("CREATE {or_replace}{kind} {if_not_exists}{}", quoted(name))
}

fn create_view(view: &CreateView) -> String {
    let kind = if view.is_materialized { "MATERIALIZED VIEW" } else { "VIEW" };
    let mut text = create(kind, view.or_replace, view.if_not_exists, &view.name);
    if !view.columns.is_empty() {
        let _ = write!(text, " ({})", list(&view.columns));
    }
    let durations = [("horizon", view.horizon_ms), ("retention", view.retention_ms)];
    let durations = durations.into_iter().filter_map(|(name, ms)| Some((name, milliseconds(ms?))));
    text + &options(&durations.collect::<Vec<_>>()) + " AS " + &view.query
}

fn create_model(model: &CreateModel) -> String {
    let text = create("MODEL", model.or_replace, model.if_not_exists, &model.name);
    let own = &model.options;
    let mut all: Vec<(&str, String)> =
        own.training.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    all.push(("retrain", milliseconds(own.retrain_ms)));
    all.push(("window", milliseconds(own.window_ms)));
    all.push(("keep", milliseconds(own.keep_ms)));
    all.push(("rows_min", own.rows_min.to_string()));
    all.extend(own.time.iter().map(|time| ("time", format!("'{}'", time.replace('\'', "''")))));
    format!("{text} USING isolation_forest{} AS {}", options(&all), model.query)
}

impl CreateSource {
    /// The statement; with `is_shown` without what nobody is to see.
    pub fn text(&self, is_shown: bool) -> String {
        let name = create("SOURCE", false, self.if_not_exists, &self.name);
        let table =
            self.table.as_ref().map_or(String::new(), |table| format!(" ({})", columns(table).join(", ")));
        let (options, format) = (self.options.text(is_shown), self.format.name());
        format!("{name}{table} FROM KAFKA ({options}) FORMAT {format}")
    }
}

impl CreateSink {
    /// The statement; with `is_shown` without what nobody is to see.
    pub fn text(&self, is_shown: bool) -> String {
        let (name, relation) =
            (create("SINK", false, self.if_not_exists, &self.name), quoted(&self.relation));
        let (target, options) = (self.target.name(), self.options.text(is_shown));
        let key = if self.key.is_empty() { String::new() } else { format!(" KEY ({})", list(&self.key)) };
        let emit = if self.on_window_close { " EMIT ON WINDOW CLOSE" } else { "" };
        let with = if self.snapshot { "" } else { " WITH (snapshot = false)" };
        let (format, envelope) = (self.format.name(), self.envelope.name());
        format!(
            "{name} FROM {relation} INTO {target} ({options}){key} FORMAT {format} ENVELOPE {envelope}{emit}{with}"
        )
    }
}

fn altered(alter: &Alter) -> String {
    let verb = if alter.is_paused { "PAUSE" } else { "RESUME" };
    format!("ALTER {} {} {verb}", alter.direction.name(), quoted(&alter.name))
}

fn set_retention(set: &SetRetention) -> String {
    let what = match set.retention_ms {
        Some(ms) => format!("SET (retention = {})", milliseconds(ms)),
        None => "RESET (retention)".to_owned(),
    };
    format!("ALTER TABLE {} {what}", quoted(&set.table))
}

fn columns(table: &CreateTable) -> Vec<String> {
    let columns = table.columns.iter().map(|column| {
        let not_null = if column.is_nullable { "" } else { " NOT NULL" };
        let default = column.default.as_ref().map_or(String::new(), |value| format!(" DEFAULT {value}"));
        format!("{} {}{not_null}{default}", quoted(&column.name), column.data_type)
    });
    columns.collect()
}

fn create_table(table: &CreateTable) -> String {
    let mut text = create("TABLE", false, table.if_not_exists, &table.name);
    if !table.columns.is_empty() {
        let mut parts = columns(table);
        if !table.primary_key.is_empty() {
            parts.push(format!("PRIMARY KEY ({})", list(&table.primary_key)));
        }
        let _ = write!(text, " ({})", parts.join(", "));
    }
    if table.is_append_only {
        text += &options(&[("append_only", "true".to_owned())]);
    }
    match &table.query {
        None => text,
        Some(query) => format!("{text} AS {query}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::statement::parse;

    #[test]
    fn a_definition_is_parsed_to_the_statement_that_it_is_of() {
        for sql in [
            "CREATE VIEW v AS SELECT 1 AS x",
            "create or replace materialized view \"My \"\"View\" (\"A\", b) \
             with (horizon = '15 minutes', retention = INTERVAL '1 day') as \
             select count(*) as a, date_bin(INTERVAL '1 minute', ts) AS b from logs where body ->> 'x' = 'it''s' group by 2",
            "CREATE MATERIALIZED VIEW IF NOT EXISTS w AS SELECT * FROM TUMBLE(logs, ts, INTERVAL '1 minute')",
            "CREATE MODEL m USING isolation_forest WITH (trees = 10, seed = 7, window = '2 days', time = 'It''s') \
             AS SELECT ts AS \"It's\", value FROM metrics",
            "CREATE TABLE t (a bigint PRIMARY KEY, \"B\" varchar(10) NOT NULL DEFAULT 'it''s', c numeric(10, 2), \
             d timestamptz DEFAULT now(), e text[], f double precision)",
            "CREATE TABLE IF NOT EXISTS t (a int, b int, PRIMARY KEY (b, a))",
            "CREATE TABLE log (a int, at timestamp) WITH (append_only = true)",
            "DROP VIEW IF EXISTS a, \"B\"",
            "DROP MODEL m",
            "ALTER TABLE spans SET (retention = INTERVAL '7 days')",
            "ALTER TABLE \"My \"\"Log\" RESET (retention)",
            "DROP TABLE t, u",
            "TRUNCATE t, u",
            "CREATE SOURCE s FROM KAFKA (brokers = 'a:1,b:2', topic 't''s', sasl.password = 'x', start 'latest') FORMAT otlp_proto",
            "CREATE SOURCE IF NOT EXISTS \"S\" (a bigint NOT NULL, \"B\" numeric(10, 2), at timestamptz, t text DEFAULT 'it''s') \
             FROM KAFKA (brokers = 'a:1', topic = 't', partitions = '0, 2', event_time = 'at') FORMAT JSON",
            "CREATE SINK k FROM v INTO KAFKA (brokers = 'a:1', topic = 't', transactional_id = 'i')",
            "CREATE SINK k FROM v INTO KAFKA (brokers = 'a:1', topic = 't', transactional_id = 'i') KEY (a, \"B\") \
             FORMAT JSON ENVELOPE UPSERT WITH (snapshot = false)",
            "CREATE SOURCE a (id bigint) FROM KAFKA (brokers = 'a:1', topic = 't', 'schema.registry.url' = 'http://r:8081', \
             schema.registry.basic.auth.user.info = '${WHO}') FORMAT AVRO",
            "CREATE SINK k FROM v INTO KAFKA (brokers = 'a:1', topic = 't', transactional_id = 'i', \
             schema.registry.url = 'https://a,https://b') KEY (a) FORMAT AVRO ENVELOPE DEBEZIUM",
            "CREATE SINK k FROM v INTO WEBHOOK (url = 'http://a', idempotency_id = 'i') ENVELOPE DEBEZIUM",
            "CREATE SINK k FROM v INTO FILE (path = '/a') EMIT ON WINDOW CLOSE",
            "DROP SOURCE IF EXISTS a, b",
            "DROP SINK a",
            "ALTER SINK a PAUSE",
            "ALTER SOURCE a RESUME",
        ] {
            let statement = parse(sql).unwrap().remove(0);
            let text = statement.definition().unwrap();
            let again = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}")).remove(0);
            assert_eq!(again.definition().unwrap(), text);
            assert_eq!(without_places(&again), without_places(&statement), "{text}");
        }
    }

    /// What `statement` says, but for where in its text it says it.
    fn without_places(statement: &impl std::fmt::Debug) -> String {
        let text = format!("{statement:?}");
        let mut kept = String::new();
        for (place, piece) in text.split("Span(").enumerate() {
            kept += if place == 0 { piece } else { piece.split_once(')').map_or("", |(_, rest)| rest) };
        }
        kept
    }

    #[test]
    fn what_defines_nothing_has_no_definition() {
        for sql in ["SELECT 1", "SHOW TABLES", "INSERT INTO t VALUES (1)", "SUBSCRIBE TO v"] {
            assert!(parse(sql).unwrap()[0].definition().is_none(), "{sql}");
        }
    }
}
