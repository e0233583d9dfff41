//! Where a source stands in each partition, from the message that is read to the position that is durable.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::runtime::Handle;

use super::decode::{Decoding, reject};
use super::source::Fetched;
use super::{TIMEOUT, position_of};
use crate::connect::ConnectError;
use crate::connect::error::kafka;
use crate::connect::supervisor::{HOLD_MAX, Stop};
use crate::engine::{Condition, DefinedSource, Incoming, IntakeError, Live, Position, Source};
use crate::fault;

/// What was handed over and may not be durable yet, at most.
const UNDER_WAY_MAX: usize = 256;

/// How long a broker may take to say where a partition ends, while others wait to be read.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// How long nothing may come of a partition that has more: then the client is made anew.
const STALLED: Duration = Duration::from_secs(10);

/// Where a partition is read from, that nothing came from yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Latest,
    /// Milliseconds since 1970 UTC.
    At(i64),
}

impl Start {
    pub fn parse(text: &str) -> Result<Self, ConnectError> {
        match text {
            "earliest" => Ok(Start::Earliest),
            "latest" => Ok(Start::Latest),
            time => match time.parse::<jiff::Timestamp>() {
                Ok(time) => Ok(Start::At(time.as_millisecond())),
                Err(_) => Err(ConnectError::Option {
                    name: "start".to_owned(),
                    value: text.to_owned(),
                    expected: "earliest, latest or a time such as 2026-11-28T00:00:00Z is expected"
                        .to_owned(),
                }),
            },
        }
    }
}

/// Hands messages over, and knows what became of them. It is the consumer's context, since partitions that a group deals
/// out, or takes away, are told to that.
pub(super) struct Reader {
    source: Arc<DefinedSource>,
    live: Live,
    handle: Handle,
    stop: Stop,
    topic: String,
    /// The consumer group, where one deals the partitions out.
    group: Option<String>,
    start: Start,
    /// Whether it has read before.
    is_known: bool,
    decoding: Decoding,
    state: Mutex<State>,
}

struct State {
    partitions: BTreeMap<i32, Partition>,
    under_way: VecDeque<UnderWay>,
    /// When the broker last said where the partitions end.
    answered: Instant,
    /// What failed where nobody could be told.
    failure: Option<ConnectError>,
}

/// A partition that is read.
struct Partition {
    /// Its clock.
    sender: Source,
    /// Where the engine stands once it has taken all that was handed over.
    stands: Option<i64>,
    /// The next offset to hand over, and the one behind the last that there is, as far as it is known.
    next: i64,
    end: i64,
    /// Whether all that there was had been fetched, and when something was last, or this was said.
    is_at_end: bool,
    moved: Instant,
    /// What is durable and not committed to the group.
    to_commit: Option<i64>,
}

/// What was handed over.
struct UnderWay {
    partition: i32,
    through: i64,
    messages: u64,
    bytes: u64,
    outcome: Pin<Box<dyn Future<Output = Result<(), IntakeError>> + Send>>,
}

impl Reader {
    pub fn new(
        source: Arc<DefinedSource>,
        live: Live,
        handle: Handle,
        stop: Stop,
        topic: String,
        group: Option<String>,
        start: Start,
    ) -> Result<Self, ConnectError> {
        let decoding = Decoding::of(&source, &handle, &stop)?;
        let (partitions, under_way) = Default::default();
        let state = State { partitions, under_way, answered: Instant::now(), failure: None };
        let is_known = !source.positions().is_empty();
        let state = Mutex::new(state);
        Ok(Reader { source, live, handle, stop, topic, group, start, is_known, decoding, state })
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What failed while the group changed hands.
    pub fn failure(&self) -> Result<(), ConnectError> {
        self.state().failure.take().map_or(Ok(()), Err)
    }

    /// Begins to read `partitions`; where each begins.
    pub fn begin(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &[i32],
    ) -> Result<Vec<(i32, i64)>, ConnectError> {
        let mut offsets = vec![];
        for &partition in partitions {
            offsets.push((partition, self.begin_one(consumer, partition)?));
        }
        self.settle_all()?;
        self.begun()?;
        Ok(offsets)
    }

    /// From here on the stream clock waits for partitions, and no more for the source as a whole.
    fn begun(&self) -> Result<(), ConnectError> {
        // To ask for the ends of others may have taken so long that the first count as idle.
        self.hold(|_| true)?;
        self.handle.block_on(self.live.sender_of(&self.source).leave())?;
        // A group may take its time until it says which partitions are whose.
        self.source.switch.activity.tell(Condition::Running);
        Ok(())
    }

    fn begin_one(&self, consumer: &BaseConsumer<Self>, partition: i32) -> Result<i64, ConnectError> {
        let own = self.source.positions().get(&partition).copied();
        let watermarks = consumer.fetch_watermarks(&self.topic, partition, TIMEOUT);
        let (low, high) = watermarks.map_err(kafka("ask for the ends of a partition"))?;
        let committed = match &self.group {
            Some(_) => self.committed(consumer, partition)?,
            None => None,
        };
        // Others of the group may have gone on from where this one stood.
        let wanted = match own.max(committed) {
            Some(position) if position > high => {
                let topic = self.topic.clone();
                return Err(ConnectError::Shorter { topic, partition, end: high, position });
            }
            Some(position) => position,
            None => self.start_in(consumer, partition, (low, high))?,
        };
        let (begin, mut rows) = (wanted.max(low), vec![]);
        if begin > wanted {
            let reason = format!("messages {wanted} to {} were deleted before they were read", low - 1);
            rows = reject(&self.topic, partition, wanted, &reason);
        }
        let sender = self.live.source();
        // The clock is not to run ahead of a partition that is behind, or falls behind while others are begun.
        if self.source.tells_time() {
            self.handle.block_on(sender.announce())?;
        }
        let state = Partition {
            sender,
            stands: own,
            next: begin,
            end: high,
            is_at_end: false,
            moved: Instant::now(),
            to_commit: None,
        };
        self.state().partitions.insert(partition, state);
        self.source.switch.activity.end(partition, Some(high));
        if own != Some(begin) {
            self.send(partition, begin, rows, 0, 0)?;
        }
        Ok(begin)
    }

    fn committed(&self, consumer: &BaseConsumer<Self>, partition: i32) -> Result<Option<i64>, ConnectError> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition);
        let committed =
            consumer.committed_offsets(list, TIMEOUT).map_err(kafka("ask for the group's positions"))?;
        position_of(&committed, "ask for the group's positions")
    }

    fn start_in(
        &self,
        consumer: &BaseConsumer<Self>,
        partition: i32,
        (low, high): (i64, i64),
    ) -> Result<i64, ConnectError> {
        let at_ms = match self.start {
            Start::Earliest => return Ok(low),
            // A partition that the topic has got since begins with its first message.
            Start::Latest if self.is_known => return Ok(low),
            Start::Latest => return Ok(high),
            Start::At(at_ms) => at_ms,
        };
        let mut list = TopicPartitionList::new();
        let added = list.add_partition_offset(&self.topic, partition, Offset::Offset(at_ms));
        added.map_err(kafka("set a time"))?;
        let found =
            consumer.offsets_for_times(list, TIMEOUT).map_err(kafka("ask for the offset of a time"))?;
        Ok(position_of(&found, "ask for the offset of a time")?.unwrap_or(high))
    }

    /// Decodes `messages` of a partition and hands their rows over, with the position behind them.
    pub fn hand_over(&self, partition: i32, mut messages: Vec<Fetched>) -> Result<(), ConnectError> {
        let Some(mut next) = self.state().partitions.get(&partition).map(|state| state.next) else {
            // It was taken away: whoever has it now reads them.
            return Ok(());
        };
        messages.retain(|message| {
            let is_new = message.offset >= next;
            next = next.max(message.offset + 1);
            is_new
        });
        let Some(last) = messages.last() else { return Ok(()) };
        let through = last.offset + 1;
        let bytes = messages.iter().map(|message| message.payload.len() as u64).sum();
        let rows = self.decoding.rows(&self.topic, partition, &messages, &|| self.waits())?;
        self.send(partition, through, rows, messages.len() as u64, bytes)
    }

    fn send(
        &self,
        partition: i32,
        through: i64,
        rows: Vec<Incoming>,
        messages: u64,
        bytes: u64,
    ) -> Result<(), ConnectError> {
        let Some((sender, after)) =
            self.state().partitions.get(&partition).map(|state| (state.sender.clone(), state.stands))
        else {
            return Ok(());
        };
        let position = Position { source: self.source.switch.id, partition, after, through };
        let receipt = self.handle.block_on(async {
            tokio::select! {
                receipt = sender.send_from(position, rows) => receipt.map_err(ConnectError::from),
                () = self.stop.due() => Err(ConnectError::Ended),
            }
        })?;
        let mut state = self.state();
        if let Some(state) = state.partitions.get_mut(&partition) {
            (state.stands, state.next) = (Some(through), through);
            // It may have waited for space.
            state.moved = Instant::now();
        }
        let outcome = Box::pin(receipt.durable());
        state.under_way.push_back(UnderWay { partition, through, messages, bytes, outcome });
        drop(state);
        while self.state().under_way.len() > UNDER_WAY_MAX {
            self.settle_one(true)?;
        }
        Ok(())
    }

    /// Takes note of what has become durable.
    pub fn settle(&self) -> Result<(), ConnectError> {
        while self.settle_one(false)? {}
        Ok(())
    }

    /// Waits until all that was handed over is durable.
    pub fn settle_all(&self) -> Result<(), ConnectError> {
        while self.settle_one(true)? {}
        Ok(())
    }

    /// Takes note of the first of what is under way, waiting for it where `is_awaited`; whether there was one.
    fn settle_one(&self, is_awaited: bool) -> Result<bool, ConnectError> {
        let Some(mut first) = self.state().under_way.pop_front() else { return Ok(false) };
        let outcome = match is_awaited {
            true => Some(self.handle.block_on(first.outcome.as_mut())),
            false => first.outcome.as_mut().now_or_never(),
        };
        let Some(outcome) = outcome else {
            self.state().under_way.push_front(first);
            return Ok(false);
        };
        outcome?;
        if let Some(state) = self.state().partitions.get_mut(&first.partition) {
            state.to_commit = Some(first.through);
        }
        if first.messages > 0 {
            self.source.switch.activity.moved(first.messages, first.bytes);
        }
        Ok(true)
    }

    /// Tells the group what is durable, and learns where the partitions end.
    pub fn look_around(
        &self,
        consumer: &BaseConsumer<Self>,
        asker: &BaseConsumer,
    ) -> Result<(), ConnectError> {
        self.commit(consumer, false)?;
        let partitions: Vec<i32> = self.state().partitions.keys().copied().collect();
        for partition in partitions {
            let high = match asker.fetch_watermarks(&self.topic, partition, LOOK_TIMEOUT) {
                Ok((_, high)) => high,
                // The client says elsewhere that the broker does not answer.
                Err(_) => return self.hold(|_| true),
            };
            self.ends_at(partition, high)?;
        }
        self.state().answered = Instant::now();
        self.source.switch.activity.goes_on();
        self.hold(|partition| !partition.is_at_end)
    }

    /// The broker says that `partition` ends at `high`.
    fn ends_at(&self, partition: i32, high: i64) -> Result<(), ConnectError> {
        let mut all = self.state();
        let Some(state) = all.partitions.get_mut(&partition) else { return Ok(()) };
        if high > std::mem::replace(&mut state.end, high) && state.is_at_end {
            (state.is_at_end, state.moved) = (false, Instant::now());
        }
        // Behind the last message there may be marks of transactions, which are none.
        let end = if state.is_at_end { state.next } else { high };
        self.source.switch.activity.end(partition, Some(end));
        match !state.is_at_end && state.moved.elapsed() > STALLED {
            true => Err(ConnectError::Stalled { topic: self.topic.clone(), partition }),
            false => Ok(()),
        }
    }

    /// A message of `partition` was fetched, or, with `is_at_end`, the last that there is had been.
    pub fn fetched(&self, partition: i32, is_at_end: bool) {
        let mut state = self.state();
        state
            .partitions
            .entry(partition)
            .and_modify(|state| (state.is_at_end, state.moved) = (is_at_end, Instant::now()));
    }

    /// Something else is waited for: rows are to come all the same, and that none do is no fault of the partitions.
    fn waits(&self) -> Result<(), ConnectError> {
        self.state().partitions.values_mut().for_each(|partition| partition.moved = Instant::now());
        self.hold(|_| true)
    }

    /// Has the stream clock wait for partitions that `is_behind`: they are not idle.
    fn hold(&self, is_behind: impl Fn(&Partition) -> bool) -> Result<(), ConnectError> {
        let state = self.state();
        if state.answered.elapsed() > HOLD_MAX || !self.source.tells_time() {
            return Ok(());
        }
        let behind = state.partitions.values().filter(|partition| is_behind(partition));
        let behind: Vec<Source> = behind.map(|partition| partition.sender.clone()).collect();
        drop(state);
        behind.iter().try_for_each(|sender| Ok(self.handle.block_on(sender.announce())?))
    }

    /// Tells the group what is durable.
    pub fn commit(&self, consumer: &BaseConsumer<Self>, is_awaited: bool) -> Result<(), ConnectError> {
        if self.group.is_none() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for (partition, state) in &mut self.state().partitions {
            let Some(position) = state.to_commit.take() else { continue };
            let added = list.add_partition_offset(&self.topic, *partition, Offset::Offset(position));
            added.map_err(kafka("set a position"))?;
        }
        if list.count() == 0 {
            return Ok(());
        }
        let mode = if is_awaited { CommitMode::Sync } else { CommitMode::Async };
        // A group that does not learn it now learns it with the next.
        if let Err(error) = consumer.commit(&list, mode) {
            tracing::warn!(%error, topic = self.topic, "positions are not committed to the group");
        }
        fault::point("source.committed");
        Ok(())
    }

    /// The group has dealt `list` out to this consumer: sets where each partition begins.
    fn assigned(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> Result<(), ConnectError> {
        for mut element in list.elements() {
            let offset = self.begin_one(consumer, element.partition())?;
            element.set_offset(Offset::Offset(offset)).map_err(kafka("set a position"))?;
        }
        self.settle_all()?;
        self.begun()
    }

    /// The group takes `list` away: what is under way is finished first, so that others go on behind it.
    fn revoked(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> Result<(), ConnectError> {
        self.settle_all()?;
        self.commit(consumer, true)?;
        for element in list.elements() {
            self.state().partitions.remove(&element.partition());
            self.source.switch.activity.end(element.partition(), None);
        }
        Ok(())
    }
}

impl ClientContext for Reader {
    fn error(&self, error: KafkaError, reason: &str) {
        // The end of a partition is no error, and is told to whoever polls.
        let is_end =
            matches!(error, KafkaError::PartitionEOF(_) | KafkaError::Global(RDKafkaErrorCode::PartitionEOF));
        if !is_end {
            tracing::warn!(%error, reason, topic = self.topic, "the client of a source");
        }
    }
}

impl ConsumerContext for Reader {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let outcome = match rebalance {
            Rebalance::Assign(list) => self.assigned(consumer, list),
            Rebalance::Revoke(list) => self.revoked(consumer, list),
            Rebalance::Error(error) => Err(kafka("join the group")(error.clone())),
        };
        if let Err(error) = outcome {
            self.state().failure = Some(error);
        }
    }
}
