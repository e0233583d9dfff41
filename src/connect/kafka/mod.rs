//! Kafka, over librdkafka.

mod decode;
mod reader;
pub(super) mod sink;
pub(super) mod source;

use std::time::Duration;

use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::ConnectError;
use super::error::kafka;
use super::settings::{required, resolved};
use crate::sql::connector::Options;

/// How long a broker may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often the client asks who leads partitions.
const METADATA_MS: &str = "5000";

/// The longest that the client waits before it connects again.
const RECONNECT_MS: &str = "2000";

/// The position that the only partition in `list` has, if it has one; `action` asked for it.
fn position_of(list: &TopicPartitionList, action: &'static str) -> Result<Option<i64>, ConnectError> {
    let elements = list.elements();
    let Some(element) = elements.first() else { return Ok(None) };
    element.error().map_err(kafka(action))?;
    Ok(match element.offset() {
        Offset::Offset(position) => Some(position),
        _ => None,
    })
}

/// The settings of a client: the brokers, and the properties that were given.
fn client(options: &Options) -> Result<ClientConfig, ConnectError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", required(options, "brokers")?);
    config.set("client.id", "undercurrent");
    // A partition that has no leader for a moment is looked for again in seconds, and not in five minutes.
    config.set("topic.metadata.refresh.interval.ms", METADATA_MS);
    config.set("reconnect.backoff.max.ms", RECONNECT_MS);
    for (name, value) in options.properties() {
        config.set(name, resolved(name, value)?);
    }
    Ok(config)
}
