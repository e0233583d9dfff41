//! Statements about sources and sinks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use super::{CONNECTORS_MAX, DefinedSink, DefinedSource, Switch};
use crate::engine::database::texts;
use crate::engine::outbox::{Outbox, WAITING_ROWS_MAX};
use crate::engine::{Answer, Database};
use crate::sql::connector::{Alter, CreateSink, CreateSource, Direction, Envelope};
use crate::sql::error::SqlError;
use crate::sql::statement::{Statement, Subscribe};

impl Database {
    fn next_connector(&mut self) -> Switch {
        self.connectors_created += 1;
        Switch::new(self.connectors_created)
    }

    /// Defines a source, with its table where it has one of its own.
    pub(in crate::engine) async fn create_source(
        &mut self,
        source: CreateSource,
    ) -> Result<Answer, SqlError> {
        let done = Answer::Done("CREATE SOURCE");
        if self.is_taken(Direction::Source, &source.name, source.if_not_exists)? {
            return Ok(done);
        }
        let mut schema = None;
        if let Some(table) = &source.table {
            Box::pin(self.execute(Statement::CreateTable(table.clone()))).await?;
            schema = self.engine.table_definition(&source.name).map(|table| table.schema.clone());
        }
        let (switch, sender, positions) = (self.next_connector(), OnceLock::new(), Mutex::default());
        let defined = Arc::new(DefinedSource { switch, definition: source, schema, sender, positions });
        let name = defined.definition.name.clone();
        self.engine.edit_connectors(|all| drop(all.sources.insert(name, defined)));
        Ok(done)
    }

    /// Whether what is to be created is there already, which is an error unless it may be.
    fn is_taken(&self, direction: Direction, name: &str, if_not_exists: bool) -> Result<bool, SqlError> {
        let connectors = self.engine.connectors();
        match connectors.switch(direction, name) {
            Some(_) if if_not_exists => Ok(true),
            Some(_) => Err(SqlError::Taken { kind: direction.word(), name: name.to_owned() }),
            None if connectors.count(direction) >= CONNECTORS_MAX => Err(SqlError::Limit {
                what: "there are as many sources, or sinks, as there may be:",
                limit: CONNECTORS_MAX.to_string(),
                hint: "drop one",
            }),
            None => Ok(false),
        }
    }

    /// Defines a sink, for which all changes of its view wait from now on.
    pub(in crate::engine) async fn create_sink(&mut self, sink: CreateSink) -> Result<Answer, SqlError> {
        let done = Answer::Done("CREATE SINK");
        if self.is_taken(Direction::Sink, &sink.name, sink.if_not_exists)? {
            return Ok(done);
        }
        let schema = self.watchable(&sink.relation)?;
        if let Some(column) = sink.key.iter().find(|column| schema.index_of(column).is_err()) {
            return Err(SqlError::Option {
                name: "KEY".to_owned(),
                value: column.clone(),
                expected: format!("a column of \"{}\" is expected", sink.relation),
            });
        }
        let retracts = self.engine.views().get(&sink.relation).is_none_or(|view| view.retracts);
        if sink.envelope == Envelope::Append && retracts && !sink.on_window_close {
            return Err(SqlError::Option {
                name: "ENVELOPE".to_owned(),
                value: "APPEND".to_owned(),
                expected: format!(
                    "rows of \"{}\" change and go: UPSERT with KEY (columns), DEBEZIUM, or EMIT ON WINDOW CLOSE is expected",
                    sink.relation
                ),
            });
        }
        // A tick of its own: what an earlier sink has told there ended before.
        self.engine.close(self.engine.closed() + 1)?;
        let options = Subscribe {
            relation: sink.relation.clone(),
            snapshot: sink.snapshot,
            progress: false,
            on_window_close: sink.on_window_close,
        };
        let (begin, snapshot, closing) = self.beginning(&options).await?;
        let outbox = Outbox::new(schema, begin, snapshot, closing, WAITING_ROWS_MAX);
        self.engine.watch(&sink.relation)?;
        let switch = self.next_connector();
        self.engine.go_on_with(switch.id, begin, &outbox)?;
        let defined = Arc::new(DefinedSink { switch, definition: sink, outbox });
        let name = defined.definition.name.clone();
        self.engine.edit_connectors(|all| drop(all.sinks.insert(name, defined)));
        Ok(done)
    }

    /// Takes sources, with their tables, or sinks away: all of `names`, or none.
    pub(in crate::engine) async fn drop_connectors(
        &mut self,
        direction: Direction,
        names: &[String],
        if_exists: bool,
    ) -> Result<Answer, SqlError> {
        let connectors = self.engine.connectors().clone();
        let is_there = |name: &String| connectors.switch(direction, name).is_some();
        if let Some(name) = names.iter().find(|name| !is_there(name) && !if_exists) {
            return Err(missing(direction, name));
        }
        self.engine.edit_connectors(|all| match direction {
            Direction::Source => all.sources.retain(|name, _| !names.contains(name)),
            Direction::Sink => all.sinks.retain(|name, _| !names.contains(name)),
        });
        let has_table = |name: &&String| connectors.sources.get(*name).is_some_and(|s| s.schema.is_some());
        let tables: Vec<String> = names.iter().filter(has_table).cloned().collect();
        if direction == Direction::Source && !tables.is_empty() {
            let drop = Statement::DropTable { names: tables, if_exists: true };
            if let Err(error) = Box::pin(self.change_tables(drop)).await {
                // Something reads one of the tables: the sources stay.
                self.engine.edit_connectors(|all| all.sources = connectors.sources);
                return Err(error);
            }
        }
        Ok(Answer::Done(if direction == Direction::Source { "DROP SOURCE" } else { "DROP SINK" }))
    }

    /// Has a source or a sink pause, or go on.
    pub(in crate::engine) fn alter(&mut self, alter: &Alter) -> Result<Answer, SqlError> {
        let Alter { direction, name, is_paused } = alter;
        let connectors = self.engine.connectors().clone();
        connectors.switch(*direction, name).ok_or_else(|| missing(*direction, name))?.turn(*is_paused);
        // Whoever runs them looks again.
        self.engine.edit_connectors(|_| ());
        Ok(Answer::Done(if *direction == Direction::Source { "ALTER SOURCE" } else { "ALTER SINK" }))
    }

    pub(in crate::engine) fn show_connectors(&self, direction: Direction) -> Result<Answer, SqlError> {
        let connectors = self.engine.connectors();
        let rows: BTreeMap<String, String> = match direction {
            Direction::Source => {
                connectors.sources.iter().map(|(name, s)| (name.clone(), s.definition.text(true))).collect()
            }
            Direction::Sink => {
                connectors.sinks.iter().map(|(name, s)| (name.clone(), s.definition.text(true))).collect()
            }
        };
        texts(["name", "definition"], rows.into_iter().map(|(name, text)| [name, text]).collect())
    }
}

fn missing(direction: Direction, name: &str) -> SqlError {
    SqlError::Missing { kind: direction.word(), name: name.to_owned(), hint: String::new() }
}
