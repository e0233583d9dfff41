//! Topics as tests write and read them.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::server::PATIENCE;

/// A message as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    pub partition: i32,
    pub key: Option<String>,
    pub value: Option<String>,
    /// The tick that it says it is of.
    pub tick: u64,
}

/// Writes `messages`, each to its partition, and waits until they are there.
pub fn write(client: &ClientConfig, topic: &str, messages: &[(i32, Vec<u8>)]) {
    let mut config = client.clone();
    let producer: BaseProducer = config.set("enable.idempotence", "true").create().expect("a producer");
    for (partition, payload) in messages {
        let mut record = BaseRecord::<(), [u8]>::to(topic).partition(*partition).payload(payload);
        while let Err((error, again)) = producer.send(record) {
            assert_eq!(error.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::QueueFull));
            producer.poll(Duration::from_millis(10));
            record = again;
        }
    }
    producer.flush(PATIENCE).expect("all are written");
}

/// How many messages were ever written to `topic`.
pub fn ends(client: &ClientConfig, topic: &str) -> u64 {
    let consumer: BaseConsumer = client.create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("an answer");
    let end = |partition| consumer.fetch_watermarks(topic, partition, PATIENCE).expect("an answer").1;
    metadata.topics()[0].partitions().iter().map(|partition| end(partition.id()) as u64).sum()
}

/// All messages of `topic` that are committed, from its beginning to its end.
pub fn read(client: &ClientConfig, topic: &str) -> Vec<Read> {
    let mut config = client.clone();
    config
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed");
    let consumer: BaseConsumer = config.set("enable.partition.eof", "true").create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("an answer");
    let partitions: Vec<i32> = metadata.topics()[0].partitions().iter().map(|p| p.id()).collect();
    let mut list = TopicPartitionList::new();
    for partition in &partitions {
        list.add_partition_offset(topic, *partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&list).expect("an assignment");
    let (mut messages, mut ended) = (vec![], 0);
    while ended < partitions.len() {
        match consumer.poll(PATIENCE).expect("an answer in time") {
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ended += 1,
            Err(error) => panic!("{topic}: {error}"),
            Ok(message) => {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
                let tick = message.headers().and_then(|headers| {
                    let tick = headers.iter().find(|header| header.key == "undercurrent.tick")?;
                    text(tick.value?).parse().ok()
                });
                messages.push(Read {
                    partition: message.partition(),
                    key: message.key().map(text),
                    value: message.payload().map(text),
                    tick: tick.expect("a tick"),
                });
            }
        }
    }
    messages
}
