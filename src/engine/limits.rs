//! What bounds queries: how many run, for how long, and how much they answer.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::delta::row_store::bytes_of;
use crate::sql::error::SqlError;
use crate::sql::session::RowStream;

/// The stack of a thread that plans statements, in bytes: a query within queries takes some 120 KiB for each level of
/// them. What a thread does not use of it costs nothing.
pub const PLANNING_STACK_BYTES: usize = 32 << 20;

/// The bounds of all queries of a reader together; clones share the count of running ones.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Time for one query, waiting for its turn included; `None`: any.
    pub timeout: Option<Duration>,
    /// The most rows of an answer.
    pub rows_max: usize,
    /// The most bytes of an answer, in memory.
    pub bytes_max: usize,
    running: Arc<Semaphore>,
}

impl Limits {
    /// At most `statements_max` queries at once.
    pub fn new(statements_max: usize, timeout: Option<Duration>, rows_max: usize, bytes_max: usize) -> Self {
        let running = Arc::new(Semaphore::new(statements_max.min(Semaphore::MAX_PERMITS)));
        Limits { timeout, rows_max, bytes_max, running }
    }

    /// Waits until a query may run.
    pub async fn begin(&self) -> Result<Turn, SqlError> {
        let deadline = self.deadline();
        let stopped = |_| SqlError::Engine("it takes no more statements".to_owned());
        let place = async { self.running.clone().acquire_owned().await.map_err(stopped) };
        let place = self.by(deadline, place).await?;
        Ok(Turn { limits: self.clone(), deadline, _place: place })
    }

    /// When a statement that begins now has to be done; `None`: any time.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timeout.map(|time| Instant::now() + time)
    }

    /// What `work` gives, or an error once it is past `deadline`.
    pub(super) async fn by<T>(
        &self,
        deadline: Option<Instant>,
        work: impl Future<Output = Result<T, SqlError>>,
    ) -> Result<T, SqlError> {
        match deadline {
            None => work.await,
            Some(deadline) => match tokio::time::timeout_at(deadline, work).await {
                Ok(result) => result,
                Err(_) => Err(self.too_long()),
            },
        }
    }

    fn too_long(&self) -> SqlError {
        SqlError::Timeout {
            limit: format!("{:?} (limits.statement_timeout)", self.timeout.unwrap_or_default()),
            hint: "narrow it down, or make a materialized view of it",
        }
    }
}

impl Default for Limits {
    /// None at all.
    fn default() -> Self {
        Limits::new(Semaphore::MAX_PERMITS, None, usize::MAX, usize::MAX)
    }
}

/// The right of one query to run; given back when dropped.
pub struct Turn {
    limits: Limits,
    deadline: Option<Instant>,
    _place: OwnedSemaphorePermit,
}

impl Turn {
    /// Waits for `work`, at most until the query's time is over.
    pub async fn within<T>(&self, work: impl Future<Output = Result<T, SqlError>>) -> Result<T, SqlError> {
        self.limits.by(self.deadline, work).await
    }

    /// The rows of `stream`, as long as they keep the limits.
    pub fn rows(self, stream: RowStream) -> Rows {
        Rows { turn: self, stream, rows: 0, bytes: 0 }
    }
}

/// The rows of a query, as they come, within its limits.
pub struct Rows {
    turn: Turn,
    stream: RowStream,
    rows: usize,
    bytes: usize,
}

impl Rows {
    /// Their columns.
    pub fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }

    /// The next rows; `None` after the last.
    ///
    /// # Errors
    ///
    /// Those of the query, or [`SqlError::Limit`] as soon as a limit is passed: the answer is not whole
    /// then.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        let stream = &mut self.stream;
        let next =
            self.turn.within(async { stream.next().await.transpose().map_err(SqlError::from) }).await?;
        let Some(batch) = next else { return Ok(None) };
        self.rows += batch.num_rows();
        self.bytes += bytes_of(&batch);
        let limits = &self.turn.limits;
        if self.rows > limits.rows_max {
            return Err(SqlError::Limit {
                what: "the answer has more rows than",
                limit: format!("{} (limits.result_rows_max)", limits.rows_max),
                hint: "add LIMIT or WHERE",
            });
        }
        if self.bytes > limits.bytes_max {
            return Err(SqlError::Limit {
                what: "the answer has more bytes than",
                limit: format!("{} (limits.result_bytes_max)", limits.bytes_max),
                hint: "add LIMIT or WHERE, or name fewer columns",
            });
        }
        Ok(Some(batch))
    }

    /// All rows that are still to come; errors are those of [`next`](Self::next).
    pub async fn all(&mut self) -> Result<Vec<RecordBatch>, SqlError> {
        let mut batches = vec![];
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }
}
