//! What can go wrong between the engine and other systems.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::delta::updates::Tick;
use crate::engine::IntakeError;
use crate::sql::error::SqlError;

/// Why a source or a sink does not go on.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Kafka's client says so.
    #[error("cannot {action}: {reason}")]
    Kafka {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        reason: KafkaError,
    },
    /// Another producer has the same transactional id.
    #[error(
        "another producer has taken the place of transactional_id \"{0}\": where it is another sink, drop one of the two, then ALTER SINK ... RESUME"
    )]
    Fenced(String),
    /// An option cannot be used.
    #[error("option {name} = \"{value}\": {expected}")]
    Option {
        /// The option.
        name: String,
        /// Its value.
        value: String,
        /// What is expected.
        expected: String,
    },
    /// An option names an environment variable that is not set.
    #[error("option {name}: the environment variable \"{variable}\" is not set")]
    Variable {
        /// The option.
        name: String,
        /// The variable.
        variable: String,
    },
    /// A partition is shorter than it was.
    #[error(
        "partition {partition} of topic \"{topic}\" ends at offset {end}, and was read up to {position}: it is another topic \
         now; drop the source, and create it again"
    )]
    Shorter {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where it ends.
        end: i64,
        /// Where it was read up to.
        position: i64,
    },
    /// The broker does not answer, in spite of a timeout.
    #[error("cannot {action}: nobody answers; the client is made anew")]
    NoAnswer {
        /// What was tried.
        action: &'static str,
    },
    /// The system has no thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// A partition has messages, and none of them come.
    #[error(
        "nothing comes of partition {partition} of topic \"{topic}\", which has more; the client is made anew"
    )]
    Stalled {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The topic has no partitions to read.
    #[error("topic \"{0}\" does not exist, or has no partition that is asked for")]
    NoPartition(String),
    /// The engine takes nothing.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// Rows have no form as messages.
    #[error(transparent)]
    Rows(#[from] SqlError),
    /// There is more than was ever told.
    #[error(
        "what is there ends with tick {0}, in milliseconds since 1970 UTC, which is still to come: something else wrote it; \
         create the sink with another name or place"
    )]
    Ahead(Tick),
    /// A file holds something else.
    #[error(
        "\"{path}\" holds at byte {at} what no sink wrote there; move it away, then ALTER SINK ... RESUME"
    )]
    Foreign {
        /// The file.
        path: String,
        /// Where.
        at: u64,
    },
    /// A row went where rows only come.
    #[error("a row went, and ENVELOPE APPEND has no word for that: {0}")]
    Gone(String),
    /// Two rows have one key.
    #[error("key {0} has more than one row at a tick: it is no key of the view")]
    Ambiguous(String),
    /// A file cannot be used.
    #[error("cannot {action} \"{path}\": {reason}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: String,
        /// Why not.
        reason: std::io::Error,
    },
    /// A webhook does not answer as it should.
    #[error("cannot post to \"{url}\": {reason}")]
    Webhook {
        /// Its address.
        url: String,
        /// Why not.
        reason: String,
    },
    /// A webhook wants no such request.
    #[error("\"{url}\" refuses requests: {status}; see to it, then ALTER SINK ... RESUME")]
    Refused {
        /// Its address.
        url: String,
        /// What it says.
        status: String,
    },
    /// A schema registry does not answer as it should.
    #[error("cannot ask the schema registry at \"{url}\": {reason}")]
    Registry {
        /// Its address.
        url: String,
        /// Why not.
        reason: String,
    },
    /// A schema registry wants no such request.
    #[error("the schema registry at \"{url}\" refuses a request: {reason}; see to it, then ALTER ... RESUME")]
    RegistryRefused {
        /// Its address.
        url: String,
        /// What it says.
        reason: String,
    },
    /// A column has no form in Avro.
    #[error("column \"{column}\" has no form in Avro: {reason}")]
    Avro {
        /// The column.
        column: String,
        /// Why not.
        reason: String,
    },
    /// It is to end.
    #[error("it is to end")]
    Ended,
}

impl ConnectError {
    /// Whether trying again leads to the same, until somebody does something about it.
    pub fn is_final(&self) -> bool {
        match self {
            ConnectError::Option { .. }
            | ConnectError::Variable { .. }
            | ConnectError::Shorter { .. }
            | ConnectError::Ahead(_)
            | ConnectError::Foreign { .. }
            | ConnectError::Gone(_)
            | ConnectError::Ambiguous(_)
            | ConnectError::Refused { .. }
            | ConnectError::RegistryRefused { .. }
            | ConnectError::Avro { .. }
            | ConnectError::Rows(_) => true,
            ConnectError::Kafka { reason, .. } => {
                matches!(reason, KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_))
                    || matches!(
                        reason.rdkafka_error_code(),
                        Some(
                            RDKafkaErrorCode::MessageSizeTooLarge
                                | RDKafkaErrorCode::TopicAuthorizationFailed
                                | RDKafkaErrorCode::GroupAuthorizationFailed
                                | RDKafkaErrorCode::ClusterAuthorizationFailed
                                | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
                                | RDKafkaErrorCode::InvalidReplicationFactor
                        )
                    )
            }
            ConnectError::Fenced(_)
            | ConnectError::NoPartition(_)
            | ConnectError::Stalled { .. }
            | ConnectError::NoAnswer { .. }
            | ConnectError::Thread(_)
            | ConnectError::Intake(_)
            | ConnectError::File { .. }
            | ConnectError::Webhook { .. }
            | ConnectError::Registry { .. }
            | ConnectError::Ended => false,
        }
    }
}

/// The most characters that an error repeats of what somebody else wrote, which may be of any length.
const QUOTED_MAX: usize = 200;

/// `text`, or its beginning.
pub(super) fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(QUOTED_MAX) {
        text.truncate(end);
        // What is cut off is not to stay in memory with what is left.
        text.shrink_to_fit();
        text.push_str("...");
    }
    text
}

/// Says what was tried when Kafka's client failed.
pub(super) fn kafka(action: &'static str) -> impl Fn(KafkaError) -> ConnectError {
    move |reason| ConnectError::Kafka { action, reason }
}
