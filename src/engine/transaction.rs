//! Changes of several statements that are made together.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::delta::row_store::bytes_of;
use crate::delta::updates::Tick;
use crate::sql::catalog::{Contents, OnDisk};
use crate::sql::error::SqlError;
use crate::sql::write::{Evaluated, Part, WRITE_BYTES_MAX};

/// What the statements of a client's transaction have changed so far. Nobody else sees it before it is
/// committed, all at once; dropped, it is rolled back.
///
/// Its statements see the rows of tables as it has changed them, over what others have committed meanwhile.
/// When it commits, the tables whose rows it has changed or taken away must be as they were when it first did so: else
/// it fails, and whoever asked tries again. Rows that only come conflict with others by their key alone, which is
/// looked at when it commits.
#[derive(Default)]
pub struct Transaction {
    done: Vec<Evaluated>,
    /// The tick of the rows that it first changed, of each table.
    seen_at: BTreeMap<String, Tick>,
    bytes: usize,
}

impl Transaction {
    /// Whether it has changed nothing.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// How many statements it holds: a savepoint.
    pub fn mark(&self) -> usize {
        self.done.len()
    }

    /// Takes back what came after `mark`.
    pub fn roll_back_to(&mut self, mark: usize) {
        self.done.truncate(mark);
        self.bytes = self.done.iter().map(bytes).sum();
    }

    /// Adds a statement, evaluated over the rows of `tick`. `depends`: it changes rows that are there.
    ///
    /// # Errors
    ///
    /// When it holds more than [`WRITE_BYTES_MAX`] bytes.
    pub(super) fn add(
        &mut self,
        mut evaluated: Evaluated,
        tick: Tick,
        depends: bool,
    ) -> Result<(), SqlError> {
        self.bytes += bytes(&evaluated);
        if self.bytes > WRITE_BYTES_MAX {
            return Err(SqlError::Limit {
                what: "the transaction changes more than",
                limit: format!("{WRITE_BYTES_MAX} bytes"),
                hint: "commit it in portions",
            });
        }
        if depends {
            evaluated.based_on = Some(*self.seen_at.entry(evaluated.table.clone()).or_insert(tick));
        }
        self.done.push(evaluated);
        Ok(())
    }

    /// What it has changed, by table.
    pub(super) fn changes(&self) -> BTreeMap<String, Vec<Part>> {
        let mut changes: BTreeMap<String, Vec<Part>> = BTreeMap::new();
        for evaluated in &self.done {
            changes.entry(evaluated.table.clone()).or_default().extend(evaluated.parts.iter().cloned());
        }
        changes
    }

    pub(super) fn into_done(self) -> Vec<Evaluated> {
        self.done
    }
}

fn bytes(evaluated: &Evaluated) -> usize {
    evaluated.parts.iter().map(|(rows, _)| bytes_of(rows)).sum()
}

/// The rows of an append-only table, and those that a transaction adds.
pub(super) struct Grown {
    pub base: Arc<dyn Contents>,
    pub added: Vec<RecordBatch>,
}

impl Contents for Grown {
    fn read(&self) -> Result<Vec<RecordBatch>, SqlError> {
        let mut rows = self.base.read()?;
        rows.extend(self.added.iter().cloned());
        Ok(rows)
    }

    fn is_on_disk(&self) -> bool {
        self.base.is_on_disk()
    }

    fn parts(&self) -> Option<(Arc<dyn OnDisk>, Vec<RecordBatch>)> {
        let (on_disk, mut others) = self.base.parts()?;
        others.extend(self.added.iter().cloned());
        Some((on_disk, others))
    }
}
