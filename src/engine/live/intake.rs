//! Where telemetry comes in.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};

use super::record::Event;
use crate::delta::row_store::bytes_of;
use crate::engine::clock::SourceId;
use crate::journal::Record;
use crate::telemetry::Batch;

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
    /// [`IntakeError::NotDurable`] and [`IntakeError::Stopped`]: nothing of it is taken then.
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

/// What one request brought.
pub struct Item {
    pub source: SourceId,
    pub batches: Vec<Batch>,
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
        let units = self.intake.units(&batches);
        let space = match self.intake.space.clone().try_acquire_many_owned(units) {
            Ok(space) => space,
            Err(TryAcquireError::NoPermits) => return Err(IntakeError::Full(self.intake.waiting_bytes())),
            Err(TryAcquireError::Closed) => return Err(IntakeError::Stopped),
        };
        let (item, receipt) = self.item(batches, space)?;
        self.intake.items.try_send(item).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => IntakeError::Full(self.intake.waiting_bytes()),
            mpsc::error::TrySendError::Closed(_) => IntakeError::Stopped,
        })?;
        Ok(receipt)
    }

    /// Hands `batches` over, waiting while the intake is full.
    pub async fn send(&self, batches: Vec<Batch>) -> Result<Receipt, IntakeError> {
        let units = self.intake.units(&batches);
        let space = self.intake.space.clone().acquire_many_owned(units).await;
        let space = space.map_err(|_| IntakeError::Stopped)?;
        let (item, receipt) = self.item(batches, space)?;
        self.intake.items.send(item).await.map_err(|_| IntakeError::Stopped)?;
        Ok(receipt)
    }

    /// A request, made ready for the journal by whoever brings it.
    fn item(&self, batches: Vec<Batch>, space: OwnedSemaphorePermit) -> Result<(Item, Receipt), IntakeError> {
        let (source, received) = (self.id, Instant::now());
        if !self.intake.is_journalled {
            let item = Item { source, batches, received, space, record: None, done: None };
            return Ok((item, Receipt(None)));
        }
        let event = Event::Accepted(batches);
        let record = event.record().map_err(|_| IntakeError::NotDurable)?;
        let Event::Accepted(batches) = event else { return Err(IntakeError::NotDurable) };
        let (reply, answer) = oneshot::channel();
        let item = Item { source, batches, received, space, record: Some(record), done: Some(reply) };
        Ok((item, Receipt(Some(answer))))
    }
}

impl Intake {
    /// The space that `batches` take, never more than there is at all.
    fn units(&self, batches: &[Batch]) -> u32 {
        let bytes: usize = batches.iter().map(|b| bytes_of(&b.rows)).sum();
        bytes.min(self.bytes_max).div_ceil(PERMIT_BYTES).min(self.bytes_max / PERMIT_BYTES) as u32
    }

    fn waiting_bytes(&self) -> usize {
        self.bytes_max.saturating_sub(self.space.available_permits() * PERMIT_BYTES)
    }
}
