//! The list of all settings.

use super::parse::{
    address, brokers_and_topic, bytes, duration, list, number, optional_duration, path, switch,
};
use super::{Config, ConfigError};
use crate::engine::WORKERS_MAX;

/// One setting.
pub struct Setting {
    /// Its section and name in the configuration file.
    pub key: &'static str,
    /// Its value where nothing is said.
    pub default: &'static str,
    /// What it means, for the file and for `--help`.
    pub help: &'static str,
    set: fn(&mut Config, &str) -> Result<(), String>,
}

impl Setting {
    /// `postgres-listen` for `postgres.listen`.
    pub fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    /// `UNDERCURRENT_POSTGRES_LISTEN` for `postgres.listen`.
    pub fn environment_variable(&self) -> String {
        format!("UNDERCURRENT_{}", self.key.replace('.', "_").to_uppercase())
    }

    /// Sets it in `config` to what `value`, which stands in `origin`, says.
    pub(super) fn apply(&self, config: &mut Config, value: &str, origin: &str) -> Result<(), ConfigError> {
        (self.set)(config, value).map_err(|expected| ConfigError::Value {
            key: self.key,
            value: value.to_owned(),
            origin: origin.to_owned(),
            expected,
        })
    }
}

/// Sets a field of the configuration to what a function makes of the text.
macro_rules! set {
    ($field:ident, $parse:expr) => {
        |config, text| {
            config.$field = $parse(text)?;
            Ok(())
        }
    };
}

/// All settings, by section.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "engine.workers",
        default: "1",
        help: "Worker threads that maintain views.",
        set: set!(workers, |text| number(text, WORKERS_MAX)),
    },
    Setting {
        key: "engine.tick",
        default: "1s",
        help: "How often views change; what arrives in between changes them together.",
        set: set!(tick, duration),
    },
    Setting {
        key: "engine.tick_rows_max",
        default: "262144",
        help: "Rows after which a tick ends early.",
        set: set!(tick_rows_max, |text| number(text, 1 << 30)),
    },
    Setting {
        key: "engine.horizon",
        default: "15 minutes",
        help: "How long views keep rows for joining where they do not say (WITH (horizon = ...)), in stream time;\nnone: for ever. Rows that come later than that are counted in view_stats.",
        set: set!(horizon_ms, |text| optional_duration(text).map(|d| d.map(|d| d.as_millis() as u64))),
    },
    Setting {
        key: "engine.retention",
        default: "1 day",
        help: "How long built-in views keep their rows by time (a minute of service_dependencies_1m, operation_latency,\nlog_rates, ...), in stream time; none: for ever. A view of your own says WITH (retention = ...).",
        set: set!(retention_ms, |text| optional_duration(text).map(|d| d.map(|d| d.as_millis() as u64))),
    },
    Setting {
        key: "engine.stored_bytes_max",
        default: "128 MiB",
        help: "How much of each stream table (spans, metrics, logs, ...) is kept in memory, and how large an ordinary table\nmay be. Older rows of streams are read from data.dir; without one they go and are counted in stream_stats.",
        set: set!(stored_bytes_max, bytes),
    },
    Setting {
        key: "engine.queries",
        default: "",
        help: "Folders of .sql files with views of your own, separated by commas; one takes the place of a built-in\nview of its name.",
        set: set!(queries, |text| Ok::<_, String>(list(text).into_iter().map(Into::into).collect())),
    },
    Setting {
        key: "engine.views",
        default: "service_dependencies, service_dependencies_1m, service_health, operation_latency, log_rates",
        help: "Views that are created at start; the others when a statement first names them.",
        set: set!(views, |text| Ok::<_, String>(list(text))),
    },
    Setting {
        key: "data.dir",
        default: "",
        help: "The folder in which a journal and history keep what is taken in and what is defined, so that all of it is\nthere after a restart or a crash; empty: nothing is kept. What is acknowledged is durable then.",
        set: set!(data_dir, |text| Ok::<_, String>(path(text))),
    },
    Setting {
        key: "data.checkpoint_interval",
        default: "5 minutes",
        help: "How often it is written what views hold, so that a restart goes on from there and old rows may go\n(ALTER TABLE ... SET (retention = ...)); none: never, and a restart reads all that ever came.",
        set: set!(checkpoint_interval, optional_duration),
    },
    Setting {
        key: "journal.bytes_max",
        default: "16 GiB",
        help: "The most bytes of the journal; beyond, nothing is taken in.",
        set: set!(journal_bytes_max, bytes),
    },
    Setting {
        key: "journal.segment_bytes_max",
        default: "64 MiB",
        help: "How long one of its files grows before the next begins.",
        set: set!(journal_segment_bytes_max, bytes),
    },
    Setting {
        key: "clock.disorder",
        default: "2s",
        help: "How far behind the latest event of its sender an event may be and still count as in time.",
        set: set!(clock_disorder, duration),
    },
    Setting {
        key: "clock.idle",
        default: "10s",
        help: "Silence after which a sender holds the stream clock back no longer.",
        set: set!(clock_idle, duration),
    },
    Setting {
        key: "clock.follows_wall",
        default: "true",
        help: "Whether the stream clock follows the wall clock while all senders are idle. false suits recorded\ntelemetry sent again: the clock stands still at its end.",
        set: set!(clock_follows_wall, switch),
    },
    Setting {
        key: "clock.ahead_max",
        default: "60s",
        help: "How far events from the future take the clock ahead of the wall clock; none: any distance.",
        set: set!(clock_ahead_max, optional_duration),
    },
    Setting {
        key: "intake.bytes_max",
        default: "256 MiB",
        help: "Decoded telemetry that no closed tick holds yet; beyond, senders are told to try again. A tick ends early\nat half of it.",
        set: set!(intake_bytes_max, bytes),
    },
    Setting {
        key: "otlp.grpc_listen",
        default: "127.0.0.1:4317",
        help: "Where OTLP over gRPC is taken in; off: nowhere.",
        set: set!(otlp_grpc_listen, address),
    },
    Setting {
        key: "otlp.http_listen",
        default: "127.0.0.1:4318",
        help: "Where OTLP over HTTP is taken in, protobuf and JSON.",
        set: set!(otlp_http_listen, address),
    },
    Setting {
        key: "otlp.body_bytes_max",
        default: "20 MiB",
        help: "The most bytes of one request, after decompression.",
        set: set!(otlp_body_bytes_max, bytes),
    },
    Setting {
        key: "postgres.listen",
        default: "127.0.0.1:5433",
        help: "Where PostgreSQL's protocol is spoken: psql, Grafana, DBeaver, any driver. Any user may connect.",
        set: set!(postgres_listen, address),
    },
    Setting {
        key: "flight_sql.listen",
        default: "127.0.0.1:50051",
        help: "Where Arrow Flight SQL is spoken: ADBC and JDBC drivers.",
        set: set!(flight_sql_listen, address),
    },
    Setting {
        key: "http.listen",
        default: "127.0.0.1:8080",
        help: "Where the HTTP API is: SQL, subscriptions, health, metrics, and Jaeger's queries.",
        set: set!(http_listen, address),
    },
    Setting {
        key: "tls.certificate",
        default: "",
        help: "The certificate chain of the server, a PEM file; with tls.key, every port speaks TLS.",
        set: set!(tls_certificate, |text| Ok::<_, String>(path(text))),
    },
    Setting {
        key: "tls.key",
        default: "",
        help: "Its private key, a PEM file.",
        set: set!(tls_key, |text| Ok::<_, String>(path(text))),
    },
    Setting {
        key: "kafka.anomalies",
        default: "",
        help: "Where the table anomalies is published, as brokers/topic (\"kafka:9092/anomalies\"), by a sink of that name;\nempty: nowhere. CREATE SINK publishes any view.",
        set: set!(kafka_anomalies, brokers_and_topic),
    },
    Setting {
        key: "limits.connections_max",
        default: "1000",
        help: "The most connections on each port.",
        set: set!(connections_max, |text| number(text, 100_000)),
    },
    Setting {
        key: "limits.request_timeout",
        default: "10s",
        help: "How long a client may take for its handshake, for the head of a request, and for its body.",
        set: set!(request_timeout, duration),
    },
    Setting {
        key: "limits.statement_timeout",
        default: "60s",
        help: "How long a statement may take, waiting for its turn included, until its client has the answer.\nSubscriptions may stay, as long as their clients read.",
        set: set!(statement_timeout, duration),
    },
    Setting {
        key: "limits.statements_max",
        default: "64",
        help: "Queries that run at once; those beyond wait for their turn.",
        set: set!(statements_max, |text| number(text, 100_000)),
    },
    Setting {
        key: "limits.statement_bytes_max",
        default: "1 MiB",
        help: "The longest text of a statement.",
        set: set!(statement_bytes_max, bytes),
    },
    Setting {
        key: "limits.result_rows_max",
        default: "1_000_000",
        help: "The most rows of an answer.",
        set: set!(result_rows_max, |text| number(text, 1 << 40)),
    },
    Setting {
        key: "limits.result_bytes_max",
        default: "256 MiB",
        help: "The most bytes of an answer, in memory.",
        set: set!(result_bytes_max, bytes),
    },
    Setting {
        key: "limits.subscriptions_max",
        default: "256",
        help: "Subscriptions that are open at once on each port.",
        set: set!(subscriptions_max, |text| number(text, 100_000)),
    },
    Setting {
        key: "limits.query_memory_bytes_max",
        default: "1 GiB",
        help: "What the sorts, groups and joins of all running queries may hold together.",
        set: set!(query_memory_bytes_max, bytes),
    },
    Setting {
        key: "limits.shutdown_timeout",
        default: "10s",
        help: "How long a stop waits for requests and statements under way.",
        set: set!(shutdown_timeout, duration),
    },
    Setting {
        key: "log.level",
        default: "info",
        help: "error, warn, info, debug or trace; or directives such as info,undercurrent::serve=debug.",
        set: set!(log_level, |text: &str| Ok::<_, String>(text.to_owned())),
    },
    Setting {
        key: "log.format",
        default: "text",
        help: "text, or json: one object a line.",
        set: set!(is_log_json, |text: &str| match text.trim() {
            "text" => Ok(false),
            "json" => Ok(true),
            _ => Err("text or json is expected".to_owned()),
        }),
    },
];
