//! A source that reads a topic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;

use super::reader::{Reader, Start};
use super::{TIMEOUT, client};
use crate::connect::ConnectError;
use crate::connect::error::kafka;
use crate::connect::settings::{required, value};
use crate::connect::supervisor::Stop;
use crate::engine::{Condition, DefinedSource, Live};
use crate::fault;
use crate::sql::connector::Options;

/// Messages, and bytes of them, that are decoded together.
const FETCH_MESSAGES_MAX: usize = 2_000;
const FETCH_BYTES_MAX: usize = 4 << 20;

/// How long the first message of those waits for others.
const LINGER: Duration = Duration::from_millis(20);

/// How long a message is waited for.
const POLL: Duration = Duration::from_millis(100);

/// How often positions are committed to the group, and ends of partitions asked for.
const LOOK_AROUND: Duration = Duration::from_secs(2);

/// How often it is looked whether the topic has more partitions, and how long a broker may take to say so: meanwhile
/// nobody tells the stream clock to wait, which takes who is silent for long for idle.
const LOOK_FOR_PARTITIONS: Duration = Duration::from_secs(20);
const LOOK_FOR_PARTITIONS_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads what `source` says until it is to end or fails.
pub(in crate::connect) fn run(
    source: &Arc<DefinedSource>,
    live: &Live,
    handle: &Handle,
    stop: &Stop,
) -> Result<(), ConnectError> {
    let options = &source.definition.options;
    let topic = required(options, "topic")?;
    let group = value(options, "group")?;
    let start = Start::parse(value(options, "start")?.as_deref().unwrap_or("earliest"))?;
    let reader =
        Reader::new(source.clone(), live.clone(), handle.clone(), stop.clone(), topic, group.clone(), start)?;
    let asking = client(options)?;
    let mut config = asking.clone();
    config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    config.set("enable.partition.eof", "true");
    // Where a position is not there any more, what is lost is said before it is gone on from elsewhere.
    config.set("auto.offset.reset", "error");
    config.set("group.id", group.as_deref().unwrap_or(&format!("undercurrent-{}", source.definition.name)));
    let consumer: BaseConsumer<Reader> =
        config.create_with_context(reader).map_err(kafka("make a consumer"))?;
    let asker = asking.create().map_err(kafka("make a consumer"))?;
    let mut fetcher =
        Fetcher { consumer, asker, is_grouped: group.is_some(), assigned: vec![], fetched: vec![], bytes: 0 };
    fetcher.begin(options)?;
    fetcher.read(source, options, stop)
}

struct Fetcher {
    consumer: BaseConsumer<Reader>,
    /// Asks where partitions end: on the connection of the other, answers wait behind messages that are still to come.
    asker: BaseConsumer,
    is_grouped: bool,
    /// The partitions that are read, where no group deals them out.
    assigned: Vec<i32>,
    /// Messages that were not decoded yet, by partition.
    fetched: Vec<(i32, Vec<Fetched>)>,
    bytes: usize,
}

/// A message.
pub(super) struct Fetched {
    pub offset: i64,
    pub payload: Vec<u8>,
}

impl Fetcher {
    fn reader(&self) -> &Reader {
        self.consumer.context()
    }

    fn begin(&mut self, options: &Options) -> Result<(), ConnectError> {
        match self.is_grouped {
            true => {
                self.consumer.subscribe(&[self.reader().topic()]).map_err(kafka("subscribe to the topic"))
            }
            false => self.assign(options, TIMEOUT),
        }
    }

    /// Reads all partitions that are asked for, also those that the topic has got since.
    fn assign(&mut self, options: &Options, timeout: Duration) -> Result<(), ConnectError> {
        let topic = self.reader().topic().to_owned();
        let metadata =
            self.consumer.fetch_metadata(Some(&topic), timeout).map_err(kafka("ask for the topic"))?;
        let there =
            metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id());
        let asked: Option<Vec<i32>> = value(options, "partitions")?
            .map(|text| text.split(',').filter_map(|number| number.trim().parse().ok()).collect());
        let mut wanted: Vec<i32> =
            there.filter(|p| asked.as_ref().is_none_or(|asked| asked.contains(p))).collect();
        wanted.sort_unstable();
        if wanted.is_empty() {
            return Err(ConnectError::NoPartition(topic));
        }
        if wanted == self.assigned {
            return Ok(());
        }
        self.flush()?;
        self.reader().settle_all()?;
        let mut list = TopicPartitionList::new();
        for (partition, offset) in self.reader().begin(&self.consumer, &wanted)? {
            let added = list.add_partition_offset(&topic, partition, Offset::Offset(offset));
            added.map_err(kafka("set a position"))?;
        }
        self.consumer.assign(&list).map_err(kafka("assign partitions"))?;
        self.assigned = wanted;
        Ok(())
    }

    fn read(&mut self, source: &DefinedSource, options: &Options, stop: &Stop) -> Result<(), ConnectError> {
        let (mut looked, mut looked_for_partitions) = (None, Instant::now());
        let mut began = Instant::now();
        while !stop.is_due() {
            let is_first = self.fetched.is_empty();
            let wait = if is_first { POLL } else { LINGER.saturating_sub(began.elapsed()) };
            let polled = match self.consumer.poll(wait) {
                None => None,
                Some(Ok(message)) => {
                    began = if is_first { Instant::now() } else { began };
                    Some(Ok(owned(&message)))
                }
                Some(Err(error)) => Some(Err(error)),
            };
            self.reader().failure()?;
            match polled {
                Some(Ok((partition, message))) => self.add(partition, message),
                Some(Err(KafkaError::PartitionEOF(partition))) => self.reader().fetched(partition, true),
                Some(Err(error)) if is_passing(&error) => {
                    source.switch.activity.tell(Condition::Retrying(error.to_string()));
                }
                Some(Err(error)) => return Err(kafka("read")(error)),
                None => {}
            }
            let count: usize = self.fetched.iter().map(|(_, messages)| messages.len()).sum();
            let is_full = count >= FETCH_MESSAGES_MAX || self.bytes >= FETCH_BYTES_MAX;
            if count > 0 && (is_full || began.elapsed() >= LINGER) {
                self.flush()?;
                source.switch.activity.goes_on();
            }
            self.reader().settle()?;
            if looked.is_none_or(|at: Instant| at.elapsed() >= LOOK_AROUND) {
                self.reader().look_around(&self.consumer, &self.asker)?;
                looked = Some(Instant::now());
            }
            if !self.is_grouped && looked_for_partitions.elapsed() >= LOOK_FOR_PARTITIONS {
                looked_for_partitions = Instant::now();
                self.assign(options, LOOK_FOR_PARTITIONS_TIMEOUT)?;
            }
        }
        // What was read and not handed over is read again next time.
        self.reader().settle_all()?;
        self.reader().commit(&self.consumer, true)
    }

    fn add(&mut self, partition: i32, message: Fetched) {
        self.reader().fetched(partition, false);
        self.bytes += message.payload.len();
        match self.fetched.iter_mut().find(|(of, _)| *of == partition) {
            Some((_, messages)) => messages.push(message),
            None => self.fetched.push((partition, vec![message])),
        }
    }

    /// Decodes what was fetched and hands it over.
    fn flush(&mut self) -> Result<(), ConnectError> {
        self.bytes = 0;
        for (partition, messages) in std::mem::take(&mut self.fetched) {
            fault::point("source.read");
            self.reader().hand_over(partition, messages)?;
            fault::point("source.sent");
        }
        Ok(())
    }
}

fn owned(message: &BorrowedMessage<'_>) -> (i32, Fetched) {
    let payload = message.payload().unwrap_or_default().to_vec();
    (message.partition(), Fetched { offset: message.offset(), payload })
}

/// Whether the client gets over an error by itself.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
        )
    )
}
