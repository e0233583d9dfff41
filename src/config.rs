//! The settings of the server: one list from which the configuration file, the environment variables and
//! the flags come, so that they agree.

mod parse;
mod settings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::checkpoint::CheckpointError;
use crate::engine::{
    BuiltIns, ClockOptions, Database, Engine, EngineError, Limits, Live, LiveOptions, Recovered,
    RecoveryError,
};
use crate::journal::Options;
use crate::sql::error::SqlError;

pub use self::settings::{SETTINGS, Setting};

/// All settings of a server. Sizes are bytes.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Worker threads that maintain views.
    pub workers: usize,
    /// How often a tick is closed.
    pub tick: Duration,
    /// Rows after which a tick is closed early.
    pub tick_rows_max: usize,
    /// How long views keep rows for joining where they do not say, in milliseconds; `None`: for ever.
    pub horizon_ms: Option<u64>,
    /// How long built-in views keep groups by time, in milliseconds; `None`: for ever.
    pub retention_ms: Option<u64>,
    /// How often a checkpoint is taken; never where there is none.
    pub checkpoint_interval: Option<Duration>,
    /// Bytes of each stream table that are kept for queries and for views to come.
    pub stored_bytes_max: usize,
    /// Where what happens is kept, so that it is there after a restart; `None`: nowhere.
    pub data_dir: Option<PathBuf>,
    /// The most bytes of the journal: beyond, nothing is taken.
    pub journal_bytes_max: usize,
    /// Bytes after which a new segment of it begins.
    pub journal_segment_bytes_max: usize,
    /// Folders of `.sql` files with views of the user's own.
    pub queries: Vec<PathBuf>,
    /// Built-in views, and those of the folders, that are created at start; the others when first named.
    pub views: Vec<String>,
    /// Disorder that the stream clock allows.
    pub clock_disorder: Duration,
    /// Silence after which a source holds the clock back no longer.
    pub clock_idle: Duration,
    /// Whether the clock follows the wall clock while all sources are idle.
    pub clock_follows_wall: bool,
    /// How far events can take the clock ahead of the wall clock.
    pub clock_ahead_max: Option<Duration>,
    /// Bytes of decoded telemetry that may wait for the workers.
    pub intake_bytes_max: usize,
    /// Where OTLP over gRPC is taken in; `None`: nowhere.
    pub otlp_grpc_listen: Option<SocketAddr>,
    /// Where OTLP over HTTP is taken in.
    pub otlp_http_listen: Option<SocketAddr>,
    /// The most bytes of one request of telemetry, decompressed.
    pub otlp_body_bytes_max: usize,
    /// Where PostgreSQL's protocol is spoken.
    pub postgres_listen: Option<SocketAddr>,
    /// Where Arrow Flight SQL is spoken.
    pub flight_sql_listen: Option<SocketAddr>,
    /// Where the HTTP API is.
    pub http_listen: Option<SocketAddr>,
    /// The certificate chain of the server (PEM), for every port; `None`: no TLS.
    pub tls_certificate: Option<PathBuf>,
    /// Its private key (PEM).
    pub tls_key: Option<PathBuf>,
    /// The brokers and the topic of Kafka to which anomalies are published; `None`: nowhere.
    pub kafka_anomalies: Option<(String, String)>,
    /// The most connections on each port.
    pub connections_max: usize,
    /// How long a client may take for its handshake, the head of a request, or a body.
    pub request_timeout: Duration,
    /// How long a statement may take.
    pub statement_timeout: Duration,
    /// Statements carried out at once; those beyond wait.
    pub statements_max: usize,
    /// The most bytes of one statement's text.
    pub statement_bytes_max: usize,
    /// The most rows of one answer.
    pub result_rows_max: usize,
    /// The most bytes of one answer.
    pub result_bytes_max: usize,
    /// The most subscriptions that are open on each port.
    pub subscriptions_max: usize,
    /// Memory of all queries that run, together.
    pub query_memory_bytes_max: usize,
    /// How long a stop waits for what is under way.
    pub shutdown_timeout: Duration,
    /// What is logged: a level, or directives as those of `RUST_LOG`.
    pub log_level: String,
    /// Whether logs are JSON, one object a line.
    pub is_log_json: bool,
}

/// Why the settings are not usable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration \"{}\"", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration \"{}\" is not TOML", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why not.
        source: Box<toml::de::Error>,
    },
    /// There is no such setting.
    #[error("setting \"{key}\" in {origin} is unknown; --print-config lists all")]
    Unknown {
        /// Its name.
        key: String,
        /// Where it stands.
        origin: String,
    },
    /// A value is out of its range.
    #[error("setting {key} = \"{value}\" in {origin}: {expected}")]
    Value {
        /// The setting.
        key: &'static str,
        /// What was given.
        value: String,
        /// Where it stands.
        origin: String,
        /// What is allowed.
        expected: String,
    },
    /// Settings contradict each other.
    #[error("{0}")]
    Together(&'static str),
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its workers or its thread cannot be started.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A view that is to be there from the start cannot be created.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// What was there when it was last stopped cannot be brought back.
    #[error("cannot bring back what is in \"{}\"", folder.display())]
    Recovery {
        /// The data directory.
        folder: PathBuf,
        /// Why not.
        source: Box<RecoveryError>,
    },
}

impl Config {
    /// The defaults, changed by `file`, then by environment variables (`UNDERCURRENT_POSTGRES_LISTEN` is
    /// `postgres.listen`) as `environment` tells them, then by `flags` (key and value).
    pub fn load(
        file: Option<&Path>,
        environment: impl Fn(&str) -> Option<String>,
        flags: &[(&'static str, String)],
    ) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        for setting in SETTINGS {
            setting.apply(&mut config, setting.default, "the defaults")?;
        }
        if let Some(path) = file {
            config.read(path)?;
        }
        for setting in SETTINGS {
            let name = setting.environment_variable();
            if let Some(value) = environment(&name) {
                setting.apply(&mut config, &value, &format!("the environment variable {name}"))?;
            }
        }
        for (key, value) in flags {
            for setting in SETTINGS.iter().filter(|s| s.key == *key) {
                setting.apply(&mut config, value, &format!("the flag --{}", setting.flag()))?;
            }
        }
        if config.tls_certificate.is_some() != config.tls_key.is_some() {
            return Err(ConfigError::Together("tls.certificate and tls.key are to be set together"));
        }
        Ok(config)
    }

    /// A running database with these settings over `views`, those of them created that are to be there from
    /// the start.
    pub async fn open(&self, views: BuiltIns) -> Result<Live, OpenError> {
        let mut engine = Engine::start(self.workers)?;
        engine.store_at_most(self.stored_bytes_max);
        if let Some(folder) = &self.data_dir {
            let kept = engine.keep_checkpoints(&folder.join("checkpoints"), self.checkpoint_interval);
            let failed = |error: CheckpointError| OpenError::Recovery {
                folder: folder.clone(),
                source: Box::new(error.into()),
            };
            kept.map_err(failed)?;
        }
        let mut database = Database::new(engine, views, self.horizon_ms)
            .with_query_memory(self.query_memory_bytes_max)
            .with_retention(self.retention_ms);
        database.create_built_ins(&self.views).await?;
        let journal = match &self.data_dir {
            Some(folder) => {
                let recovered = self.recover(folder, &mut database).await;
                let failed = |error| OpenError::Recovery { folder: folder.clone(), source: Box::new(error) };
                Some(recovered.map_err(failed)?)
            }
            None => None,
        };
        Ok(Live::start(database, LiveOptions::from(self), journal)?)
    }

    /// Brings `database` to where it was when it was last stopped, by what `folder` holds.
    async fn recover(&self, folder: &Path, database: &mut Database) -> Result<Recovered, RecoveryError> {
        let options = Options {
            segment_bytes_max: self.journal_segment_bytes_max as u64,
            bytes_max: self.journal_bytes_max as u64,
        };
        Recovered::open(folder, options, database).await
    }

    fn read(&mut self, path: &Path) -> Result<(), ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(read)?;
        let sections: toml::Table = text
            .parse()
            .map_err(|source| ConfigError::Toml { path: path.to_owned(), source: Box::new(source) })?;
        let origin = format!("\"{}\"", path.display());
        for (section, values) in sections {
            let unknown = |key: String| ConfigError::Unknown { key, origin: origin.clone() };
            let toml::Value::Table(values) = values else { return Err(unknown(section)) };
            for (name, value) in values {
                let key = format!("{section}.{name}");
                let Some(setting) = SETTINGS.iter().find(|s| s.key == key) else { return Err(unknown(key)) };
                setting.apply(self, &plain(&value), &origin)?;
            }
        }
        Ok(())
    }

    /// The text of a configuration file with every setting, its meaning and its default.
    pub fn annotated() -> String {
        let mut text = String::from(
            "# The configuration of `undercurrent serve`: all settings with their defaults.\n\
             # An environment variable (UNDERCURRENT_POSTGRES_LISTEN) overrides the file, a flag\n\
             # (--postgres-listen) overrides both. Sizes: \"20 MiB\"; durations: \"1s\", \"15 minutes\".\n",
        );
        let mut section = "";
        for setting in SETTINGS {
            let (of, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
            if of != section {
                text += &format!("\n[{of}]\n");
                section = of;
            }
            for line in setting.help.lines() {
                text += &format!("# {line}\n");
            }
            text += &format!("{name} = {}\n", toml::Value::String(setting.default.to_owned()));
        }
        text
    }
}

impl From<&Config> for LiveOptions {
    fn from(config: &Config) -> Self {
        LiveOptions {
            tick: config.tick,
            tick_rows_max: config.tick_rows_max,
            intake_bytes_max: config.intake_bytes_max,
            clock: ClockOptions {
                disorder: config.clock_disorder,
                idle: config.clock_idle,
                follows_wall: config.clock_follows_wall,
                ahead_max: config.clock_ahead_max,
            },
            queries: Limits::new(
                config.statements_max,
                Some(config.statement_timeout),
                config.result_rows_max,
                config.result_bytes_max,
            ),
        }
    }
}

/// A value of a file as an environment variable would say it.
fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(
        text: &str,
        environment: &[(&str, &str)],
        flags: &[(&'static str, String)],
    ) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let lookup =
            |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let path = file.path().display().to_string();
        Config::load(Some(file.path()), lookup, flags).map_err(|e| e.to_string().replace(&path, "FILE"))
    }

    #[test]
    fn what_is_printed_is_a_file_of_the_defaults() {
        let printed = load(&Config::annotated(), &[], &[]).unwrap();
        let defaults = Config::load(None, |_| None, &[]).unwrap();
        assert_eq!(format!("{printed:?}"), format!("{defaults:?}"));
        assert_eq!(defaults.postgres_listen, Some("127.0.0.1:5433".parse().unwrap()));
    }

    #[test]
    fn flags_go_before_the_environment_and_that_before_the_file() {
        let file = "[engine]\nworkers = 2\ntick = \"2s\"\n[http]\nlisten = \"off\"";
        let environment = [("UNDERCURRENT_ENGINE_WORKERS", "3"), ("UNDERCURRENT_ENGINE_TICK", "3s")];
        let config = load(file, &environment, &[("engine.workers", "4".to_owned())]).unwrap();
        assert_eq!((config.workers, config.tick), (4, Duration::from_secs(3)));
        assert_eq!(config.http_listen, None);
    }

    #[test]
    fn an_error_names_the_setting_its_value_its_origin_and_the_range() {
        for (file, expected) in [
            (
                "[engine]\nworkers = 0",
                "setting engine.workers = \"0\" in \"FILE\": a number from 1 to 64 is expected",
            ),
            (
                "[engine]\nworker = 1",
                "setting \"engine.worker\" in \"FILE\" is unknown; --print-config lists all",
            ),
            ("workers = 1", "setting \"workers\" in \"FILE\" is unknown; --print-config lists all"),
            ("[engine", "the configuration \"FILE\" is not TOML"),
            (
                "[http]\nlisten = \"8080\"",
                "setting http.listen = \"8080\" in \"FILE\": an address such as 127.0.0.1:8080 or [::]:8080 is expected, or off",
            ),
            ("[tls]\nkey = \"key.pem\"", "tls.certificate and tls.key are to be set together"),
        ] {
            assert_eq!(load(file, &[], &[]).unwrap_err(), expected);
        }
        let refused = load("", &[("UNDERCURRENT_CLOCK_IDLE", "soon")], &[]).unwrap_err();
        assert!(refused.contains("in the environment variable UNDERCURRENT_CLOCK_IDLE"), "{refused}");
    }
}
