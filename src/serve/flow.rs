//! Rows on their way to a client that may be slow.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::delta::row_store::bytes_of;
use crate::engine::Rows;
use crate::sql::error::SqlError;

/// Rows that are encoded at once.
const PIECE_ROWS: usize = 8192;

/// About as many bytes of them at most, where a row is not longer.
const PIECE_BYTES: usize = 1 << 20;

/// Pieces that wait for the client; then the query waits too.
const PIECES_AHEAD: usize = 2;

/// A piece of an answer; `None` after the last.
type Piece = Result<Option<RecordBatch>, SqlError>;

/// The rows of an answer in pieces. A query runs at the pace of its client, but not beyond the time that a
/// statement has: who reads slowly, or not at all, keeps nobody from running theirs. It ends when this is
/// dropped.
pub(super) struct Flow {
    schema: SchemaRef,
    pieces: mpsc::Receiver<Piece>,
    time: Duration,
}

impl Flow {
    /// Lets `rows` flow, for at most `time`.
    pub fn start(rows: Rows, time: Duration) -> Self {
        let schema = rows.schema();
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        tokio::spawn(produce(rows, sender, Instant::now() + time));
        Flow { schema, pieces, time }
    }

    /// Rows that are there already.
    pub fn of(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        let cut: Vec<RecordBatch> = batches.iter().flat_map(pieces_of).collect();
        let (sender, pieces) = mpsc::channel(cut.len() + 1);
        // There is a place for each.
        cut.into_iter().map(Some).chain([None]).for_each(|piece| drop(sender.try_send(Ok(piece))));
        Flow { schema, pieces, time: Duration::ZERO }
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The next rows, a few thousand at most; `None` after the last.
    ///
    /// # Errors
    ///
    /// Those of the query; the answer is not whole then.
    pub async fn next(&mut self) -> Piece {
        match self.pieces.recv().await {
            Some(piece) => piece,
            None => Err(SqlError::Timeout {
                limit: format!("{:?} (limits.statement_timeout)", self.time),
                hint: "read the answer faster, or ask for less",
            }),
        }
    }
}

async fn produce(mut rows: Rows, sender: mpsc::Sender<Piece>, deadline: Instant) {
    loop {
        let next = tokio::select! {
            () = sender.closed() => return,
            next = rows.next() => next,
        };
        let pieces = match next {
            Ok(Some(batch)) => pieces_of(&batch).map(|piece| Ok(Some(piece))).collect(),
            last => vec![last],
        };
        for piece in pieces {
            let is_last = !matches!(piece, Ok(Some(_)));
            // The client is told of the end by the channel: there may be no place in it.
            let Ok(Ok(())) = timeout_at(deadline, sender.send(piece)).await else { return };
            if is_last {
                return;
            }
        }
    }
}

/// `batch` cut into what is encoded at once.
pub(super) fn pieces_of(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> + '_ {
    let rows = batch.num_rows();
    let step = (rows * PIECE_BYTES / bytes_of(batch).max(1)).clamp(1, PIECE_ROWS);
    (0..rows).step_by(step).map(move |begin| batch.slice(begin, step.min(rows - begin)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray};

    use super::*;

    #[test]
    fn pieces_are_few_rows_or_few_bytes() {
        for (rows, text, expected) in [(20_000, "x", 8_192), (10, &*"x".repeat(PIECE_BYTES), 1), (0, "", 0)] {
            let column: ArrayRef = Arc::new(StringArray::from(vec![text; rows]));
            let batch = RecordBatch::try_from_iter([("text", column)]).unwrap();
            let pieces: Vec<usize> = pieces_of(&batch).map(|piece| piece.num_rows()).collect();
            assert_eq!(pieces.iter().sum::<usize>(), rows);
            assert_eq!(pieces.first().copied().unwrap_or(0), expected);
        }
    }
}
