//! Rows on their way to a client.

use std::collections::VecDeque;

use datafusion::arrow::array::RecordBatch;
use pgwire::api::results::DataRowEncoder;
use pgwire::messages::PgWireBackendMessage;

use super::Shared;
use super::answer::Source;
use super::columns::Columns;
use super::copy::Format;
use super::error::Fault;
use super::wire::Sender;

/// An answer that is partly sent.
pub(super) struct Cursor {
    source: Source,
    pub columns: Columns,
    encoder: DataRowEncoder,
    /// Rows that have come, ready to be encoded, and how many of the first of them are sent.
    batches: VecDeque<RecordBatch>,
    sent: usize,
}

impl Cursor {
    /// The rows of `source`, in the formats asked for.
    pub fn new(source: Source, formats: &[i16]) -> Result<Self, Fault> {
        let columns = Columns::new(&source.schema(), formats)?;
        let encoder = columns.encoder();
        Ok(Cursor { source, columns, encoder, batches: VecDeque::new(), sent: 0 })
    }

    /// Sends up to `rows_max` rows; returns how many, and whether there may be more. Rows of a subscription
    /// are seen as soon as their tick is whole.
    pub async fn send(
        &mut self,
        shared: &Shared,
        sender: &mut Sender,
        copy: Option<&Format>,
        rows_max: usize,
    ) -> Result<(usize, bool), Fault> {
        let mut count = 0;
        while count < rows_max {
            let Some(batch) = self.batch(shared, sender).await? else { return Ok((count, false)) };
            let end = batch.num_rows().min(self.sent + (rows_max - count));
            for row in self.sent..end {
                let row = self.columns.encode(&mut self.encoder, &batch, row)?;
                sender.put(match copy {
                    None => PgWireBackendMessage::DataRow(row),
                    Some(format) => PgWireBackendMessage::CopyData(format.row(&row)),
                })?;
                sender.flush_much().await?;
                self.sent += 1;
                count += 1;
            }
        }
        Ok((count, true))
    }

    /// The batch whose rows are next; `None` after the last.
    async fn batch(&mut self, shared: &Shared, sender: &mut Sender) -> Result<Option<RecordBatch>, Fault> {
        loop {
            match self.batches.front() {
                Some(batch) if self.sent < batch.num_rows() => return Ok(Some(batch.clone())),
                Some(_) => {
                    self.batches.pop_front();
                    self.sent = 0;
                }
                None => {
                    if self.source.is_endless() {
                        sender.flush().await?;
                    }
                    let Some(batches) = self.source.next(shared).await? else { return Ok(None) };
                    let shaped = batches.iter().map(|batch| self.columns.shape(batch));
                    let shaped = shaped.collect::<Result<Vec<_>, _>>();
                    self.batches.extend(shaped.map_err(|error| Fault::of(error.into(), ""))?);
                }
            }
        }
    }
}
