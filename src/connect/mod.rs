//! What moves rows between the engine and the systems beside it: sources read from Kafka, sinks write to Kafka, to a
//! webhook or to a file.
//!
//! What is to run is what is defined in SQL ([`crate::engine::Connectors`]); each source and each sink has a thread of its
//! own, since the client library waits. What fails is tried again, later each time, and shows in `source_stats` and
//! `sink_stats`; what cannot succeed stands still until somebody has it go on.
//!
//! - **A source** hands rows over with the position behind them, and the engine keeps both together, or neither. After a
//!   restart it goes on from there: each message is taken in once. Kafka's consumer groups are told the positions that are
//!   durable, for others to see, and for whoever takes a partition over.
//! - **A sink** delivers the changes of a view tick by tick. To Kafka, messages and the tick that they end with are
//!   committed in one transaction; after a restart the engine, which plays its journal again, has the same changes at the
//!   same ticks, and what was committed is not delivered again. A file is cut back to the last whole tick. A webhook is
//!   given each tick at least once, with a key by which it can tell.
//! - **Avro** has its schemas in a registry: a source asks it for each that it does not know yet, and while there is no answer
//!   nothing is handed over; a sink registers its own before it writes.

mod avro;
mod encode;
mod error;
mod file;
mod kafka;
mod registry;
mod settings;
mod sink;
mod supervisor;
mod webhook;

pub use self::error::ConnectError;
pub use self::supervisor::Connections;
