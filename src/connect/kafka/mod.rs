//! Kafka, over librdkafka.

mod decode;
mod reader;
pub(super) mod sink;
pub(super) mod source;

use std::time::Duration;

use rdkafka::ClientConfig;

use super::ConnectError;
use super::settings::{required, resolved};
use crate::sql::connector::Options;

/// How long a broker may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of a client: the brokers, and the properties that were given.
fn client(options: &Options) -> Result<ClientConfig, ConnectError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", required(options, "brokers")?);
    config.set("client.id", "undercurrent");
    for (name, value) in options.properties() {
        config.set(name, resolved(name, value)?);
    }
    Ok(config)
}
