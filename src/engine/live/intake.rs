//! Where telemetry comes in.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};

use super::JOINED_ROWS;
use super::record::Event;
use crate::delta::row_store::bytes_of;
use crate::engine::clock::SourceId;
use crate::engine::connectors::Position;
use crate::engine::{DefinedSource, Engine, EngineError};
use crate::journal::Record;
use crate::telemetry::{Batch, Table};

/// The unit in which the bytes of the intake are counted.
pub(super) const PERMIT_BYTES: usize = 1024;

/// Tells whoever sent telemetry what became of it.
pub(super) type Reply = oneshot::Sender<Result<(), IntakeError>>;

/// The intake takes nothing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// What waits has reached the limit: try again.
    #[error("the intake is full: {0} bytes wait for the workers; try again later")]
    Full(usize),
    /// The engine is stopping or has lost a worker.
    #[error("the engine has stopped")]
    Stopped,
    /// It could not be made durable, and is not taken: try again.
    #[error("the journal cannot be written, /ready says why; try again later")]
    NotDurable,
    /// It came from a source of which something before it was not taken: go back to where that stands.
    #[error("what came before it was not taken")]
    OutOfOrder,
}

/// Rows on their way into a stream.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The stream: a table of telemetry, or an append-only one.
    pub relation: Cow<'static, str>,
    /// The rows, in its columns.
    pub rows: RecordBatch,
    /// When the latest of them happened, in nanoseconds since 1970 UTC, where the stream clock is to know.
    pub latest_ns: Option<i64>,
}

impl Incoming {
    /// Rows for the stream `relation`.
    pub fn new(relation: impl Into<Cow<'static, str>>, rows: RecordBatch, latest_ns: Option<i64>) -> Self {
        Incoming { relation: relation.into(), rows, latest_ns }
    }
}

impl From<Batch> for Incoming {
    fn from(batch: Batch) -> Self {
        let latest_ns =
            batch.event_time_ns.filter(|_| batch.table != Table::IngestErrors).map(|(_, latest)| latest);
        Incoming::new(batch.table.name(), batch.rows, latest_ns)
    }
}

/// What becomes of telemetry that was handed over.
#[must_use]
#[derive(Debug)]
pub struct Receipt(Option<oneshot::Receiver<Result<(), IntakeError>>>);

impl Receipt {
    /// Waits until it is durable, where the engine has a journal.
    ///
    /// # Errors
    ///
    /// All but [`IntakeError::Full`]: nothing of it is taken then.
    pub async fn durable(self) -> Result<(), IntakeError> {
        match self.0 {
            Some(answer) => answer.await.unwrap_or(Err(IntakeError::Stopped)),
            None => Ok(()),
        }
    }
}

/// Where decoded telemetry goes in.
#[derive(Clone)]
pub(super) struct Intake {
    pub items: mpsc::Sender<Item>,
    /// Free space, in units of [`PERMIT_BYTES`].
    pub space: Arc<Semaphore>,
    pub bytes_max: usize,
    pub next_source: Arc<AtomicU64>,
    /// Whether what comes is to be durable before it is taken.
    pub is_journalled: bool,
}

/// One sender of telemetry: the stream clock waits for the slowest of those that are not idle.
#[derive(Clone)]
pub struct Source {
    pub(super) id: SourceId,
    pub(super) intake: Intake,
}

/// What a request means to the stream clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It brings rows.
    Sends,
    /// Rows will come: the clock is to wait for them, until the sender is idle.
    Expected,
    /// None will.
    Gone,
}

/// What one request brought.
pub struct Item {
    pub source: SourceId,
    pub presence: Presence,
    pub rows: Vec<Incoming>,
    /// Where the source stands behind them, if they are from one.
    pub position: Option<Position>,
    pub received: Instant,
    pub space: OwnedSemaphorePermit,
    /// What the journal is to hold of it, and who waits until it does.
    pub record: Option<Record>,
    pub done: Option<Reply>,
}

impl Source {
    /// Hands `batches` over. Once they are durable they are accepted: every view will see them.
    ///
    /// # Errors
    ///
    /// [`IntakeError::Full`] when they do not fit now; nothing of them is taken then.
    pub fn try_send(&self, batches: Vec<Batch>) -> Result<Receipt, IntakeError> {
        let rows: Vec<Incoming> = batches.into_iter().map(Incoming::from).collect();
        let units = self.intake.units(&rows);
        let space = match self.intake.space.clone().try_acquire_many_owned(units) {
            Ok(space) => space,
            Err(TryAcquireError::NoPermits) => return Err(IntakeError::Full(self.intake.waiting_bytes())),
            Err(TryAcquireError::Closed) => return Err(IntakeError::Stopped),
        };
        let (item, receipt) = self.item(None, rows, space)?;
        self.intake.items.try_send(item).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => IntakeError::Full(self.intake.waiting_bytes()),
            mpsc::error::TrySendError::Closed(_) => IntakeError::Stopped,
        })?;
        Ok(receipt)
    }

    /// Hands `batches` over, waiting while the intake is full.
    pub async fn send(&self, batches: Vec<Batch>) -> Result<Receipt, IntakeError> {
        self.hand_over(None, batches.into_iter().map(Incoming::from).collect()).await
    }

    /// Hands over `rows` that a source has read up to `position`, waiting while the intake is full. Rows and position
    /// are kept together, or not at all.
    pub async fn send_from(&self, position: Position, rows: Vec<Incoming>) -> Result<Receipt, IntakeError> {
        self.hand_over(Some(position), rows).await
    }

    /// Says that rows will come: the stream clock waits for them, until this is idle.
    pub async fn announce(&self) -> Result<(), IntakeError> {
        self.say(Presence::Expected).await
    }

    /// Says that no rows will come.
    pub async fn leave(&self) -> Result<(), IntakeError> {
        self.say(Presence::Gone).await
    }

    async fn say(&self, presence: Presence) -> Result<(), IntakeError> {
        let space =
            self.intake.space.clone().acquire_many_owned(0).await.map_err(|_| IntakeError::Stopped)?;
        let (source, received) = (self.id, Instant::now());
        let item = Item {
            source,
            presence,
            rows: vec![],
            position: None,
            received,
            space,
            record: None,
            done: None,
        };
        self.intake.items.send(item).await.map_err(|_| IntakeError::Stopped)
    }

    async fn hand_over(
        &self,
        position: Option<Position>,
        rows: Vec<Incoming>,
    ) -> Result<Receipt, IntakeError> {
        let units = self.intake.units(&rows);
        let space = self.intake.space.clone().acquire_many_owned(units).await;
        let space = space.map_err(|_| IntakeError::Stopped)?;
        let (item, receipt) = self.item(position, rows, space)?;
        self.intake.items.send(item).await.map_err(|_| IntakeError::Stopped)?;
        Ok(receipt)
    }

    /// A request, made ready for the journal by whoever brings it.
    fn item(
        &self,
        position: Option<Position>,
        rows: Vec<Incoming>,
        space: OwnedSemaphorePermit,
    ) -> Result<(Item, Receipt), IntakeError> {
        let mut item = Item {
            source: self.id,
            presence: Presence::Sends,
            rows,
            position,
            received: Instant::now(),
            space,
            record: None,
            done: None,
        };
        if self.intake.is_journalled {
            let event = Event::Accepted { position, rows: item.rows.clone() };
            item.record = Some(event.record().map_err(|_| IntakeError::NotDurable)?);
        }
        // Of telemetry without a journal there is nothing to wait for.
        if item.record.is_none() && position.is_none() {
            return Ok((item, Receipt(None)));
        }
        let (reply, answer) = oneshot::channel();
        item.done = Some(reply);
        Ok((item, Receipt(Some(answer))))
    }
}

impl super::Owner {
    /// Takes in one of those that wait where nothing says as of when they are: this thread may have stood still, and
    /// who sent them is not idle for that.
    pub(super) async fn take_if_stalled(&mut self) -> Result<(), EngineError> {
        match self.behind.is_none().then(|| self.items.try_recv()) {
            Some(Ok(item)) => self.accept(item).await,
            _ => Ok(()),
        }
    }

    /// Gives the first `requests` their space back, of `bytes`, which the closed tick holds, unless history is too far
    /// behind: then senders wait for it.
    pub(super) fn release(&mut self, (requests, bytes): (usize, usize)) {
        if !self.database.engine.history_is_behind() {
            self.held.drain(..requests);
            self.held_bytes -= bytes;
        }
    }
}

impl Intake {
    /// A number for a sender that was not there before.
    pub fn next_sender(&self) -> SourceId {
        self.next_source.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of the sender that `source` is as a whole.
    pub fn sender_of(&self, source: &DefinedSource) -> SourceId {
        *source.sender.get_or_init(|| self.next_sender())
    }

    /// The space that `rows` take, never more than there is at all.
    fn units(&self, rows: &[Incoming]) -> u32 {
        let bytes: usize = rows.iter().map(|b| bytes_of(&b.rows)).sum();
        bytes.min(self.bytes_max).div_ceil(PERMIT_BYTES).min(self.bytes_max / PERMIT_BYTES) as u32
    }

    fn waiting_bytes(&self) -> usize {
        self.bytes_max.saturating_sub(self.space.available_permits() * PERMIT_BYTES)
    }
}

/// Gives the workers `batches` of `relation`, small ones as one.
pub(super) fn append_joined(
    engine: &mut Engine,
    relation: &str,
    batches: Vec<RecordBatch>,
) -> Result<(), EngineError> {
    let mut rest = &batches[..];
    while let Some(first) = rest.first() {
        let mut rows = 0;
        let is_more = |batch: &&RecordBatch| {
            rows += batch.num_rows();
            rows - batch.num_rows() < JOINED_ROWS
        };
        let (joined, behind) = rest.split_at(rest.iter().take_while(is_more).count());
        rest = behind;
        match concat_batches(&first.schema(), joined) {
            Ok(rows) => engine.append_rows(relation, &rows)?,
            // More text than one column can hold: each batch for itself.
            Err(_) => joined.iter().try_for_each(|rows| engine.append_rows(relation, rows))?,
        }
    }
    Ok(())
}
