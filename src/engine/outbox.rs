//! What waits for a sink: the changes of its view that were not delivered yet, tick by tick.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;
use tokio::sync::Notify;

use super::closing::Closing;
use super::subscription::Change;
use crate::delta::chunk::ArrowChunk;
use crate::delta::operator::Part;
use crate::delta::updates::{Run, Tick, Updates};
use crate::sql::error::SqlError;

/// The most changes that wait for a sink. Beyond, those of all ticks are summed up as if they had come at the last;
/// where they are still too many, the sink fails.
pub const WAITING_ROWS_MAX: usize = 2_000_000;

/// How many times as many may wait while it is not known how much has arrived, after a restart.
const RECOVERED: usize = 4;

/// Changes of one tick.
#[derive(Clone)]
pub struct Delivery {
    /// The tick.
    pub tick: Tick,
    /// Rows with their diffs.
    pub chunks: Vec<ArrowChunk>,
}

impl Delivery {
    /// How many changes it has: a row that comes ten times is ten.
    pub fn rows(&self) -> usize {
        let changes = |chunk: &ArrowChunk| -> u64 {
            let updates = chunk.updates();
            (0..updates.len()).map(|row| updates.diffs.get(row).unsigned_abs()).sum()
        };
        self.chunks.iter().map(changes).sum::<u64>() as usize
    }

    /// The changes summed up by row, as if all had come at the tick: a row that came and went within it did neither.
    pub fn settled(&self) -> Vec<ArrowChunk> {
        settled(self.chunks.iter(), self.tick)
    }
}

fn settled<'a>(chunks: impl Iterator<Item = &'a ArrowChunk>, tick: Tick) -> Vec<ArrowChunk> {
    let dated = |chunk: &ArrowChunk| Updates { times: Run::Constant(tick), ..chunk.updates().clone() };
    ArrowChunk::form(&chunks.map(dated).collect::<Vec<_>>())
}

/// How far a sink is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The last tick all of whose changes are delivered; ticks without changes count when those before them are.
    pub delivered: Tick,
    /// Ticks with changes that wait, and their changes.
    pub waiting_ticks: usize,
    /// See [`waiting_ticks`](Self::waiting_ticks).
    pub waiting_rows: usize,
    /// Why nothing is delivered now, where it is the view's doing.
    pub error: Option<String>,
}

/// The changes of a view on their way to one sink. The engine puts them in at each tick; whoever delivers them takes
/// them out when they have arrived.
pub struct Outbox {
    /// The columns of the view.
    pub schema: SchemaRef,
    rows_max: usize,
    waiting: Mutex<Waiting>,
    more: Notify,
}

struct Waiting {
    closing: Option<Closing>,
    ticks: VecDeque<Delivery>,
    rows: usize,
    /// The last tick that the engine has closed.
    closed: Tick,
    delivered: Tick,
    /// The last tick that was told to have arrived, and the last of which the journal knows that.
    arrived: Tick,
    noted: Tick,
    /// The last tick that somebody delivers now: what is behind it alone may be summed up.
    handed_out: Tick,
    /// Whether it is known how much has arrived. Until then more may have than the journal knows, tick by tick.
    has_begun: bool,
    /// Why the view has no answer at the last tick.
    unanswered: Option<String>,
    /// Why changes were lost: nothing can be delivered any more.
    failure: Option<String>,
    /// What comes up to this tick has been delivered.
    passed: Tick,
}

impl Outbox {
    /// Nothing waits but `snapshot`, the rows of the view at tick `begin`.
    pub(super) fn new(
        schema: SchemaRef,
        begin: Tick,
        snapshot: Option<Change>,
        closing: Option<Closing>,
        rows_max: usize,
    ) -> Self {
        let delivered = begin.saturating_sub(1);
        let waiting = Waiting {
            closing,
            ticks: VecDeque::new(),
            rows: 0,
            closed: begin,
            delivered,
            arrived: delivered,
            noted: delivered,
            handed_out: delivered,
            has_begun: false,
            unanswered: None,
            failure: None,
            passed: 0,
        };
        let outbox = Outbox { schema, rows_max, waiting: Mutex::new(waiting), more: Notify::new() };
        snapshot.iter().for_each(|change| outbox.push(change));
        outbox
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A tick has been closed.
    pub(super) fn push(&self, change: &Change) {
        let mut waiting = self.waiting();
        waiting.push(change, self.rows_max);
        drop(waiting);
        self.more.notify_one();
    }

    /// The tick that arrived last, if the journal does not know of it yet.
    pub(super) fn to_note(&self) -> Option<Tick> {
        let waiting = self.waiting();
        Some(waiting.arrived).filter(|arrived| *arrived > waiting.noted)
    }

    /// The journal knows that what came up to `tick` has arrived.
    pub(super) fn noted(&self, tick: Tick) {
        self.waiting().noted = tick;
    }

    /// Somebody begins to deliver, where all has arrived up to `last`, as far as that can be told.
    ///
    /// # Errors
    ///
    /// `last` where that tick is still to come.
    pub fn begin(&self, last: Option<Tick>) -> Result<(), Tick> {
        let last = last.unwrap_or(0);
        if last > self.waiting().closed {
            return Err(last);
        }
        self.delivered(last);
        self.waiting().has_begun = true;
        Ok(())
    }

    /// Why nothing can be delivered any more, if nothing can, and the rows of windows that have not ended.
    pub(super) fn to_save(&self) -> (Option<String>, Vec<Part>) {
        let waiting = self.waiting();
        let open = waiting.closing.iter().flat_map(Closing::open).collect();
        (waiting.failure.clone(), open)
    }

    /// Goes on where it was at the end of tick `passed`, with what it had [to save](Self::to_save): all up to there was
    /// delivered, and comes once more.
    pub(super) fn go_on(&self, passed: Tick, failure: Option<String>, open: Vec<Part>) {
        let mut waiting = self.waiting();
        (waiting.ticks, waiting.rows) = (VecDeque::new(), 0);
        (waiting.passed, waiting.failure) = (passed, failure);
        let opened = waiting.closing.as_mut().map_or(Ok(()), |closing| closing.go_on(passed, open));
        if let Err(error) = opened {
            waiting.fail(&error);
        }
    }

    /// Whether all up to `tick` was delivered, or nothing can be delivered any more.
    pub(super) fn is_past(&self, tick: Tick) -> bool {
        let waiting = self.waiting();
        waiting.failure.is_some() || waiting.delivered >= tick
    }

    /// How far the sink is.
    pub fn progress(&self) -> Progress {
        let waiting = self.waiting();
        Progress {
            delivered: waiting.delivered,
            waiting_ticks: waiting.ticks.len(),
            waiting_rows: waiting.rows,
            error: waiting.failure.clone().or(waiting.unanswered.clone()),
        }
    }

    /// The first ticks that wait: one, and more while all together have at most `rows_max` changes. They stay until they
    /// are [`delivered`](Self::delivered). Nothing while the view has no answer.
    pub fn next(&self, rows_max: usize) -> Vec<Delivery> {
        let mut waiting = self.waiting();
        if waiting.unanswered.is_some() || waiting.failure.is_some() {
            return vec![];
        }
        let mut rows = 0;
        let fits = |delivery: &&Delivery| {
            let is_first = rows == 0;
            rows += delivery.rows();
            is_first || rows <= rows_max
        };
        let next: Vec<Delivery> = waiting.ticks.iter().take_while(fits).cloned().collect();
        waiting.handed_out = next.last().map_or(waiting.handed_out, |last| last.tick);
        next
    }

    /// Waits until something may have changed.
    pub async fn more(&self) {
        self.more.notified().await;
    }

    /// What came up to `tick` has arrived, and is not told again.
    pub fn delivered(&self, tick: Tick) {
        let mut waiting = self.waiting();
        while let Some(first) = waiting.ticks.front().filter(|first| first.tick <= tick) {
            waiting.rows -= first.rows();
            waiting.ticks.pop_front();
        }
        waiting.arrived = waiting.arrived.max(tick);
        waiting.settle(tick);
    }
}

impl Waiting {
    fn push(&mut self, change: &Change, rows_max: usize) {
        self.closed = self.closed.max(change.tick);
        self.unanswered = change.error.clone();
        if change.tick <= self.passed {
            self.settle(0);
            return;
        }
        let chunks = match self.closing.as_mut().map(|closing| closing.next(change)).transpose() {
            Ok(ended) => ended.unwrap_or_else(|| change.chunks.clone()),
            Err(error) => return self.fail(&error),
        };
        let delivery = Delivery { tick: change.tick, chunks };
        let rows = delivery.rows();
        if self.failure.is_none() && rows > 0 && change.tick > self.delivered {
            self.rows += rows;
            self.ticks.push_back(delivery);
            let rows_max = if self.has_begun { rows_max } else { rows_max.saturating_mul(RECOVERED) };
            if self.rows > rows_max {
                self.join(rows_max);
            }
        }
        self.settle(0);
    }

    /// Ticks without changes are delivered when those before them are.
    fn settle(&mut self, tick: Tick) {
        if self.failure.is_some() {
            return;
        }
        let idle = if self.ticks.is_empty() { self.closed } else { 0 };
        self.delivered = self.delivered.max(tick).max(idle);
    }

    /// Sums up what waits as if all had come at the last tick.
    fn join(&mut self, rows_max: usize) {
        let Some(tick) = self.ticks.back().map(|last| last.tick) else { return };
        let first = self.ticks.iter().take_while(|delivery| delivery.tick <= self.handed_out).count();
        let behind = self.ticks.split_off(first);
        let chunks = settled(behind.iter().flat_map(|delivery| &delivery.chunks), tick);
        let joined = Delivery { tick, chunks };
        let joined_rows = joined.rows();
        self.ticks.push_back(joined);
        self.rows = self.ticks.iter().map(Delivery::rows).sum();
        if joined_rows > rows_max {
            self.fail(&SqlError::Limit {
                what: "changes that wait for the sink are more than",
                limit: rows_max.to_string(),
                hint: "what it writes to takes too little; drop the sink, and create it again",
            });
        }
    }

    fn fail(&mut self, error: &SqlError) {
        self.failure = Some(error.to_string());
        (self.ticks, self.rows) = (VecDeque::new(), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{Int64Type, Schema};

    use super::*;
    use crate::delta::updates::Diff;

    /// Rows with diffs at `tick`.
    fn change(tick: Tick, rows: &[(i64, Diff)]) -> Change {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(value, _)| *value)));
        let batch = RecordBatch::try_from_iter([("n", values)]).unwrap();
        let diffs = Run::from_vec(rows.iter().map(|(_, diff)| *diff).collect());
        Change { tick, chunks: ArrowChunk::form(&[Updates::at(batch, tick, diffs)]), error: None }
    }

    fn outbox(snapshot: Option<Change>, rows_max: usize) -> Outbox {
        Outbox::new(Arc::new(Schema::empty()), 10, snapshot, None, rows_max)
    }

    /// What is told next, as `tick: value x diff, ...`.
    fn told(outbox: &Outbox, rows_max: usize) -> Vec<String> {
        let text = |delivery: Delivery| {
            let mut rows: Vec<String> = vec![];
            for chunk in &delivery.chunks {
                let updates = chunk.updates();
                let values = updates.rows.column(0).as_primitive::<Int64Type>();
                rows.extend(
                    (0..updates.len()).map(|row| format!("{}x{}", values.value(row), updates.diffs.get(row))),
                );
            }
            rows.sort();
            format!("{}: {}", delivery.tick, rows.join(" "))
        };
        outbox.next(rows_max).into_iter().map(text).collect()
    }

    #[test]
    fn changes_wait_until_they_are_delivered() {
        let outbox = outbox(Some(change(10, &[(1, 1), (2, 1)])), 100);
        outbox.push(&change(11, &[(1, -1), (3, 1)]));
        outbox.push(&change(12, &[]));
        outbox.push(&change(13, &[(4, 2)]));
        let all = ["10: 1x1 2x1", "11: 1x-1 3x1", "13: 4x2"];
        assert_eq!(told(&outbox, 100), all);
        // One tick is whole, however large.
        assert_eq!(told(&outbox, 1), all[..1]);
        assert_eq!(told(&outbox, 4), all[..2]);
        assert_eq!((outbox.progress().delivered, outbox.progress().waiting_rows), (9, 6));
        outbox.delivered(11);
        assert_eq!(told(&outbox, 100), all[2..]);
        assert_eq!(outbox.to_note(), Some(11));
        outbox.noted(11);
        assert_eq!(outbox.to_note(), None);
        outbox.delivered(13);
        outbox.push(&change(14, &[]));
        assert_eq!(
            outbox.progress().delivered,
            14,
            "a tick without changes is delivered with those before it"
        );
        assert_eq!(outbox.to_note(), Some(13));
    }

    #[test]
    fn what_was_delivered_before_a_restart_is_not_told_again() {
        let outbox = outbox(None, 100);
        outbox.push(&change(11, &[(1, 1)]));
        outbox.delivered(12);
        outbox.push(&change(12, &[(2, 1)]));
        outbox.push(&change(13, &[(3, 1)]));
        outbox.push(&change(14, &[(4, 1)]));
        assert_eq!(outbox.begin(Some(15)), Err(15), "it cannot have arrived");
        outbox.begin(Some(13)).unwrap();
        assert_eq!(told(&outbox, 100), ["14: 4x1"]);
    }

    #[test]
    fn what_is_too_much_becomes_one_tick_and_then_an_error() {
        let outbox = outbox(None, 3);
        outbox.begin(None).unwrap();
        outbox.push(&change(11, &[(1, 1), (2, 1)]));
        outbox.push(&change(12, &[(1, -1), (3, 1)]));
        assert_eq!(told(&outbox, 100), ["12: 2x1 3x1"]);
        // That is on its way, and stays what it is.
        outbox.push(&change(13, &[(2, -1), (4, 1)]));
        outbox.delivered(12);
        assert_eq!(told(&outbox, 100), ["13: 2x-1 4x1"]);
        outbox.push(&change(14, &[(5, 4)]));
        let progress = outbox.progress();
        assert_eq!((progress.waiting_ticks, progress.waiting_rows), (0, 0));
        assert_eq!(
            progress.error.unwrap(),
            "changes that wait for the sink are more than 3: what it writes to takes too little; drop the sink, and create it again"
        );
        outbox.push(&change(15, &[(6, 1)]));
        assert_eq!(outbox.progress().delivered, 12);
        assert!(told(&outbox, 100).is_empty(), "nothing is told behind what is lost");
    }

    #[test]
    fn nothing_is_told_while_the_view_has_no_answer() {
        let outbox = outbox(None, 100);
        outbox.push(&Change { error: Some("division by zero".to_owned()), ..change(11, &[(1, 1)]) });
        assert!(told(&outbox, 100).is_empty());
        assert_eq!(outbox.progress().error.as_deref(), Some("division by zero"));
        outbox.push(&change(12, &[]));
        assert_eq!(told(&outbox, 100), ["11: 1x1"]);
    }
}
