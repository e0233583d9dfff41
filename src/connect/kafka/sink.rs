//! A sink that writes to a topic, in transactions.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::runtime::Handle;

use super::{TIMEOUT, client, position_of};
use crate::connect::ConnectError;
use crate::connect::encode::Message;
use crate::connect::error::kafka;
use crate::connect::settings::{number, required};
use crate::connect::sink::{Destination, Told};
use crate::delta::updates::Tick;
use crate::fault;
use crate::sql::connector::CreateSink;

/// The header of a message that says its tick, in milliseconds since 1970 UTC.
const TICK: &str = "undercurrent.tick";

/// How far the tick is written that a transaction ends with: as a position of the consumer group that is called as the
/// transactional id. It is committed, or not, with the messages; and unlike a message it can be asked for.
pub(in crate::connect) struct KafkaSink {
    topic: String,
    id: String,
    producer: Arc<BaseProducer>,
    /// A client of that group, which never joins it.
    group: BaseConsumer,
}

impl KafkaSink {
    /// Connects as the producer of the sink: a transaction that it left open before is aborted, and whoever else is it can
    /// write no more.
    pub fn connect(sink: &CreateSink, handle: &Handle) -> Result<Self, ConnectError> {
        let options = &sink.options;
        let (topic, id) = (required(options, "topic")?, required(options, "transactional_id")?);
        let config = client(options)?;
        let partitions: Option<i32> = number(options, "partitions")?;
        let replication: Option<i32> = number(options, "replication_factor")?;
        if partitions.is_some() || replication.is_some() {
            handle.block_on(create_topic(&config, &topic, partitions, replication))?;
        }
        let mut producing = config.clone();
        producing.set("transactional.id", &id).set("enable.idempotence", "true");
        if producing.get("linger.ms").is_none() {
            producing.set("linger.ms", "5");
        }
        let producer: BaseProducer = producing.create().map_err(kafka("make a producer"))?;
        let mut grouped = config;
        grouped.set("group.id", &id).set("enable.auto.commit", "false");
        // A position of a transaction that is being committed is waited for.
        grouped.set("isolation.level", "read_committed");
        let group: BaseConsumer = grouped.create().map_err(kafka("make a consumer"))?;
        let connected = KafkaSink { topic, id, producer: Arc::new(producer), group };
        connected.producer.init_transactions(TIMEOUT).map_err(connected.failed("begin as a producer"))?;
        Ok(connected)
    }

    fn failed(&self, action: &'static str) -> impl Fn(KafkaError) -> ConnectError {
        let id = self.id.clone();
        move |error| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::InvalidProducerEpoch) => {
                ConnectError::Fenced(id.clone())
            }
            _ => kafka(action)(error),
        }
    }

    fn produce(&self, tick: Tick, message: &Message) -> Result<(), ConnectError> {
        let tick = tick.to_string();
        let headers = OwnedHeaders::new().insert(Header { key: TICK, value: Some(&tick) });
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.topic).headers(headers);
        if let Some(key) = &message.key {
            record = record.key(key);
        }
        if let Some(value) = &message.value {
            record = record.payload(value);
        }
        let mut record = Some(record);
        while let Some(next) = record.take() {
            match self.producer.send(next) {
                Ok(()) => {}
                // It holds as much as it may: what is under way has to arrive first.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    self.producer.poll(TIMEOUT / 100);
                    record = Some(again);
                }
                Err((error, _)) => return Err(self.failed("write")(error)),
            }
        }
        Ok(())
    }

    /// The position that says up to which tick all is written.
    fn position(&self, offset: Offset) -> Result<TopicPartitionList, ConnectError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, 0, offset).map_err(kafka("set a position"))?;
        Ok(list)
    }
}

impl Destination for KafkaSink {
    fn last(&mut self) -> Result<Option<Tick>, ConnectError> {
        let asked = self.position(Offset::Invalid)?;
        let committed =
            self.group.committed_offsets(asked, TIMEOUT).map_err(kafka("ask up to where it has written"))?;
        Ok(position_of(&committed, "ask up to where it has written")?
            .and_then(|tick| Tick::try_from(tick).ok()))
    }

    fn deliver(&mut self, ticks: &[Told]) -> Result<(), ConnectError> {
        let outcome = self.transact(ticks);
        if outcome.as_ref().is_err_and(|error| !matches!(error, ConnectError::NoAnswer { .. })) {
            // Readers need not wait until the broker gives it up. Where that fails it is done when it connects again.
            let _ = self.producer.abort_transaction(TIMEOUT / 10);
        }
        outcome
    }

    fn idle(&mut self) {
        self.producer.poll(Duration::ZERO);
    }
}

impl KafkaSink {
    /// Writes `ticks` in one transaction, with the position behind them.
    fn transact(&self, ticks: &[Told]) -> Result<(), ConnectError> {
        let Some(last) = ticks.last() else { return Ok(()) };
        let position = self.position(Offset::Offset(last.tick as i64))?;
        let group = self.group.group_metadata().ok_or(ConnectError::Ended)?;
        self.producer.begin_transaction().map_err(self.failed("begin a transaction"))?;
        fault::point("sink.begun");
        for told in ticks {
            told.messages.iter().try_for_each(|message| self.produce(told.tick, message))?;
            self.producer.poll(Duration::ZERO);
        }
        fault::point("sink.produced");
        self.send_position(position, group)?;
        fault::point("sink.positioned");
        // What becomes of a transaction that fails is found out when it connects again.
        self.producer.commit_transaction(3 * TIMEOUT).map_err(self.failed("commit a transaction"))?;
        fault::point("sink.committed");
        Ok(())
    }
}

impl KafkaSink {
    /// Makes `position` part of the transaction. librdkafka may never come back from that when a broker was away (2.12 does not
    /// keep to the timeout while it looks for the coordinator of the group): its producer is given up then, and the one that
    /// comes after it aborts what it has begun.
    fn send_position(
        &self,
        position: TopicPartitionList,
        group: ConsumerGroupMetadata,
    ) -> Result<(), ConnectError> {
        let (tell, told) = bounded(1);
        let producer = self.producer.clone();
        let send = move || drop(tell.send(producer.send_offsets_to_transaction(&position, &group, TIMEOUT)));
        let thread = std::thread::Builder::new().name("sink position".to_owned());
        thread.spawn(send).map_err(ConnectError::Thread)?;
        let action = "write up to where it has written";
        match told.recv_timeout(TIMEOUT + TIMEOUT / 2) {
            Ok(sent) => sent.map_err(self.failed(action)),
            Err(_) => Err(ConnectError::NoAnswer { action }),
        }
    }
}

/// Creates `topic`, unless it is there.
async fn create_topic(
    config: &ClientConfig,
    topic: &str,
    partitions: Option<i32>,
    replication: Option<i32>,
) -> Result<(), ConnectError> {
    let admin: AdminClient<DefaultClientContext> = config.create().map_err(kafka("make a client"))?;
    // Less than one leaves it to the broker.
    let new =
        NewTopic::new(topic, partitions.unwrap_or(-1), TopicReplication::Fixed(replication.unwrap_or(-1)));
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
    let outcome = admin.create_topics([&new], &options).await.map_err(kafka("create the topic"))?;
    match outcome.into_iter().next() {
        Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
            Err(kafka("create the topic")(KafkaError::AdminOp(code)))
        }
        _ => Ok(()),
    }
}
