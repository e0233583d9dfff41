//! Sources and sinks: what CREATE SOURCE and CREATE SINK say.

mod options;
mod parse;
#[cfg(test)]
mod tests;

pub use self::options::{Options, REGISTRY_URL, REGISTRY_USER_INFO};
pub(super) use self::parse::{altered, create_sink, create_source};
use super::table::CreateTable;

/// `CREATE SOURCE name [(columns)] FROM KAFKA (options) FORMAT format`.
#[derive(Clone, Debug)]
pub struct CreateSource {
    /// Its name.
    pub name: String,
    /// Whether one that exists is fine.
    pub if_not_exists: bool,
    /// The append-only table, of the source's name, that its rows go into; `None` where they are telemetry.
    pub table: Option<Box<CreateTable>>,
    /// Where it reads.
    pub options: Options,
    /// What its messages are.
    pub format: Format,
}

/// What the messages of a source or a sink are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `Export*ServiceRequest` in protobuf; the signal shows.
    OtlpProtobuf,
    /// `Export*ServiceRequest` as JSON.
    OtlpJson,
    /// A JSON object a row.
    Json,
    /// An Avro record a row, in the wire format of Confluent: a zero byte, the id of its schema in the schema registry (four
    /// bytes, the highest first), and the record. Options: [`REGISTRY_URL`] and [`REGISTRY_USER_INFO`].
    Avro,
}

impl Format {
    /// All there are.
    pub const ALL: [Format; 4] = [Format::OtlpProtobuf, Format::OtlpJson, Format::Json, Format::Avro];

    /// Those that a sink writes.
    pub const OF_SINKS: [Format; 2] = [Format::Json, Format::Avro];

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Format::OtlpProtobuf => "OTLP_PROTO",
            Format::OtlpJson => "OTLP_JSON",
            Format::Json => "JSON",
            Format::Avro => "AVRO",
        }
    }

    /// Whether a message is a row with columns that CREATE SOURCE says, and not telemetry.
    pub fn has_own_columns(self) -> bool {
        matches!(self, Format::Json | Format::Avro)
    }
}

/// `CREATE SINK name FROM relation INTO target (options) [KEY (columns)] [FORMAT format] [ENVELOPE envelope]
/// [EMIT ON WINDOW CLOSE] [WITH (snapshot = false)]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateSink {
    /// Its name.
    pub name: String,
    /// Whether one that exists is fine.
    pub if_not_exists: bool,
    /// The view, or ordinary table, whose changes it tells.
    pub relation: String,
    /// Whom it tells.
    pub target: Target,
    /// Where that is.
    pub options: Options,
    /// The columns by which a message replaces an earlier one.
    pub key: Vec<String>,
    /// What its messages are.
    pub format: Format,
    /// What a message says of a change.
    pub envelope: Envelope,
    /// Whether each row is told once, when its window has ended.
    pub on_window_close: bool,
    /// Whether the rows that are there at the beginning are told too.
    pub snapshot: bool,
}

/// What a sink writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A topic of Kafka.
    Kafka,
    /// An address to which batches of rows are posted.
    Webhook,
    /// A file of JSON lines.
    File,
}

impl Target {
    /// All there are.
    pub const ALL: [Target; 3] = [Target::Kafka, Target::Webhook, Target::File];

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Target::Kafka => "KAFKA",
            Target::Webhook => "WEBHOOK",
            Target::File => "FILE",
        }
    }
}

/// What a message says of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// A row that came. Rows never go.
    Append,
    /// The row that a key has from now on, or that it has none.
    Upsert,
    /// The row before and the row after.
    Debezium,
}

impl Envelope {
    /// All there are.
    pub const ALL: [Envelope; 3] = [Envelope::Append, Envelope::Upsert, Envelope::Debezium];

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Envelope::Append => "APPEND",
            Envelope::Upsert => "UPSERT",
            Envelope::Debezium => "DEBEZIUM",
        }
    }
}

/// Whether something is a source or a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A source.
    Source,
    /// A sink.
    Sink,
}

impl Direction {
    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Source => "SOURCE",
            Direction::Sink => "SINK",
        }
    }

    /// What a sentence calls it.
    pub fn word(self) -> &'static str {
        match self {
            Direction::Source => "source",
            Direction::Sink => "sink",
        }
    }
}

/// `ALTER SOURCE name PAUSE`, and RESUME; the same of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alter {
    /// What is altered.
    pub direction: Direction,
    /// Its name.
    pub name: String,
    /// Whether it stands still from now on, or goes on.
    pub is_paused: bool,
}
