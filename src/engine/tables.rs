//! Tables of users: rows that statements bring, change and take away.
//!
//! An append-only table is a stream like those of telemetry. An ordinary table is a dataflow of its own, from an
//! input of rows with diffs to an arrangement: it is published as views are, and views import it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::contents::ViewContents;
use super::stream::{Kept, Stream};
use super::{Engine, EngineError};
use crate::delta::plan::{Node, Plan};
use crate::delta::row_store::bytes_of;
use crate::delta::updates::{Diff, Run, Tick};
use crate::history::HistoryError;
use crate::sql::catalog::Contents;
use crate::sql::error::{SqlError, WriteError};
use crate::sql::table::TableDefinition;
use crate::sql::write::{KeyIndex, Part};

/// The most tables that users create.
pub const TABLES_MAX: usize = 1_000;

/// An ordinary table: all of its rows are on the workers.
pub(super) struct UserTable {
    pub definition: Arc<TableDefinition>,
    pub keys: Option<KeyIndex>,
    /// About the bytes of its rows.
    pub bytes: usize,
    /// What the open tick changes.
    pub open: Vec<Part>,
    /// The last tick that changed it.
    pub changed_at: Tick,
}

impl Engine {
    /// Creates the table `name`, which must not exist, and closes a tick.
    ///
    /// # Errors
    ///
    /// When its key is of a type that cannot be compared, or the engine has failed.
    pub fn create_table(&mut self, name: &str, definition: Arc<TableDefinition>) -> Result<(), SqlError> {
        let keys = KeyIndex::new(name, &definition)?;
        if definition.is_append_only {
            let failed = |error: HistoryError| SqlError::Engine(error.to_string());
            let history = self.open_history(name, &definition.schema, self.definitions).map_err(failed)?;
            let stream = Stream::new(definition.schema.clone(), Some(definition), history);
            self.streams.insert(name.to_owned(), stream);
        } else {
            self.install_table(name, &definition.schema)?;
            let table = UserTable { definition, keys, bytes: 0, open: vec![], changed_at: 0 };
            self.tables.insert(name.to_owned(), table);
        }
        self.close(self.closed + 1)?;
        Ok(())
    }

    fn install_table(&mut self, name: &str, schema: &SchemaRef) -> Result<(), EngineError> {
        let mut plan = Plan::default();
        let columns = (0..schema.fields().len()).collect();
        let source = plan.push(Node::Source { relation: name.to_owned(), columns }, schema.clone());
        // A row goes where its equals went, so that those that cancel out meet.
        plan.push(Node::Consolidate(source), schema.clone());
        let streams = BTreeMap::from([(name.to_owned(), (schema.clone(), Kept::default()))]);
        self.install(name, Arc::new(plan), streams, None)
    }

    /// Takes the table `name` away, with its rows, and closes a tick. No view may read it.
    pub fn drop_table(&mut self, name: &str) -> Result<(), EngineError> {
        self.drop_history(name);
        self.streams.remove(name);
        if self.tables.remove(name).is_some() {
            self.subscriptions.remove(name);
            self.uninstall(name)?;
        }
        self.close(self.closed + 1)?;
        Ok(())
    }

    /// The tables that users created, by name.
    pub fn table_definitions(&self) -> BTreeMap<&str, &Arc<TableDefinition>> {
        let ordinary = self.tables.iter().map(|(name, table)| (name.as_str(), &table.definition));
        let streams = self.streams.iter();
        let streams = streams.filter_map(|(name, s)| Some((name.as_str(), s.definition.as_ref()?)));
        ordinary.chain(streams).collect()
    }

    /// Changes rows of the table `name` at the open tick, past SQL: row `i` of `rows`, in the table's schema,
    /// comes `diffs[i]` times, or goes where that is negative. All of it is done, or nothing.
    ///
    /// # Errors
    ///
    /// [`WriteError`], where a key would be there twice, the table would pass its limit, or rows of an
    /// append-only table would go. That rows which go were there is not checked: a query does not show a row that
    /// has gone more often than it came.
    pub fn change(&mut self, name: &str, rows: RecordBatch, diffs: Run<Diff>) -> Result<(), SqlError> {
        self.apply(name, vec![(rows, diffs)])
    }

    /// Changes rows of the table `name` at the open tick, one part after the other.
    pub(super) fn apply(&mut self, name: &str, parts: Vec<Part>) -> Result<(), SqlError> {
        self.check()?;
        let (bytes_max, tick) = (self.stored_bytes_max, self.open_tick());
        if let Some(definition) = self.streams.get(name).map(|stream| stream.definition.clone()) {
            let is_user_table = definition.is_some();
            if !is_user_table || parts.iter().any(|(_, diffs)| *diffs != Run::Constant(1)) {
                return Err(
                    WriteError::AppendOnly { command: "UPDATE or DELETE", table: name.to_owned() }.into()
                );
            }
            return Ok(parts.iter().try_for_each(|(rows, _)| self.append_rows(name, rows))?);
        }
        let Some(table) = self.tables.get_mut(name) else {
            return Err(SqlError::Missing { kind: "table", name: name.to_owned(), hint: String::new() });
        };
        let (mut added, mut removed) = (0, 0);
        for (rows, diffs) in &parts {
            let (more, less) = bytes_of_changes(rows, diffs);
            (added, removed) = (added + more, removed + less);
        }
        let keys_bytes = table.keys.as_ref().map_or(0, KeyIndex::bytes);
        let bytes = (table.bytes + added).saturating_sub(removed);
        if added > removed && bytes + keys_bytes > bytes_max {
            return Err(
                WriteError::Full { table: name.to_owned(), bytes: bytes + keys_bytes, bytes_max }.into()
            );
        }
        if let Some(keys) = &mut table.keys {
            keys.apply(&parts)?;
        }
        table.bytes = bytes;
        table.changed_at = tick;
        table.open.extend(parts.iter().cloned());
        for (rows, diffs) in parts {
            self.open_rows += rows.num_rows();
            self.send_rows(name, rows, diffs)?;
        }
        Ok(())
    }

    /// The table `name` that a user created.
    pub(super) fn table_definition(&self, name: &str) -> Option<&Arc<TableDefinition>> {
        match self.tables.get(name) {
            Some(table) => Some(&table.definition),
            None => self.streams.get(name)?.definition.as_ref(),
        }
    }

    /// The last tick that changed the ordinary table `name`; 0 where none did.
    pub(super) fn changed_at(&self, name: &str) -> Tick {
        self.tables.get(name).map_or(0, |table| table.changed_at)
    }

    /// The tables that the open tick has changed, as they are now.
    pub(super) fn changed_tables(&self) -> impl Iterator<Item = (&str, Arc<dyn Contents>)> {
        let changed = self.tables.iter().filter(|(_, table)| !table.open.is_empty());
        changed
            .map(|(name, table)| (name.as_str(), Arc::new(self.table_now(name, table)) as Arc<dyn Contents>))
    }

    /// The changes that leave the ordinary table `name` without rows.
    pub(super) fn all_rows_gone(&self, name: &str) -> Vec<Part> {
        let Some(table) = self.tables.get(name) else { return vec![] };
        let now = self.table_now(name, table);
        now.counted().iter().map(|(rows, diffs)| (rows.clone(), diffs.map(|diff| -diff))).collect()
    }

    fn table_now(&self, name: &str, table: &UserTable) -> ViewContents {
        let published = self.published.load();
        let empty = || Arc::new(ViewContents::new(name, self.closed));
        published.view(name).cloned().unwrap_or_else(empty).changed_by(&table.open)
    }
}

/// The bytes that changes add, and those that they take away.
fn bytes_of_changes(rows: &RecordBatch, diffs: &Run<Diff>) -> (usize, usize) {
    let bytes = bytes_of(rows);
    let of = |diffs: i64| usize::try_from(diffs).unwrap_or(0).saturating_mul(bytes) / rows.num_rows().max(1);
    let sum = |sign: i64| (0..rows.num_rows()).map(|row| (diffs.get(row) * sign).max(0)).sum::<i64>();
    (of(sum(1)), of(sum(-1)))
}
