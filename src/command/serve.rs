//! `undercurrent serve`: the server.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{CommandError, Outcome, player};
use crate::config::{Config, OpenError, SETTINGS};
use crate::connect::Connections;
use crate::engine::{Live, PLANNING_STACK_BYTES};
use crate::serve::{Addresses, Servers};
use crate::sql::statement::parse;

/// The command with a flag for every setting.
pub(super) fn command() -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .env("UNDERCURRENT_CONFIG")
        .value_parser(clap::value_parser!(PathBuf))
        .help("The configuration file");
    let print = Arg::new("print-config")
        .long("print-config")
        .action(ArgAction::SetTrue)
        .help("Print a configuration file with every setting, its meaning and its default, and end");
    let about = "Take in live telemetry, keep views up to date, and answer SQL";
    let command = Command::new("serve").about(about).arg(config).arg(print);
    SETTINGS.iter().fold(command, |command, setting| {
        let section = setting.key.split('.').next().unwrap_or_default();
        command.arg(
            Arg::new(setting.key)
                .long(setting.flag())
                .value_name("VALUE")
                .allow_hyphen_values(true)
                .help_heading(section)
                .help(format!(
                    "{} [{}] [default: {}]",
                    setting.help.replace('\n', " "),
                    setting.environment_variable(),
                    setting.default
                )),
        )
    })
}

/// Serves until SIGINT or SIGTERM.
pub(super) fn run(matches: &ArgMatches) -> Result<Outcome, CommandError> {
    if matches.get_flag("print-config") {
        std::io::stdout().write_all(Config::annotated().as_bytes()).map_err(CommandError::Write)?;
        return Ok(Outcome::Complete);
    }
    let flags: Vec<_> =
        SETTINGS.iter().filter_map(|s| Some((s.key, matches.get_one::<String>(s.key)?.clone()))).collect();
    let file = matches.get_one::<PathBuf>("config");
    let config = Config::load(file.map(PathBuf::as_path), |name| std::env::var(name).ok(), &flags)?;
    start_log(&config)?;
    runtime()?.block_on(serve(config))
}

/// The threads of servers and queries.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(PLANNING_STACK_BYTES)
        .enable_all()
        .build();
    runtime.map_err(|source| CommandError::System { action: "start the threads of the servers", source })
}

async fn serve(config: Config) -> Result<Outcome, CommandError> {
    let mut signals = Signals::new()?;
    let live = live(&config).await?;
    publish_anomalies(&config, &live).await?;
    let servers = Servers::start(config, live.clone()).await?;
    let connections = Connections::start(live);
    let Addresses { otlp_grpc, otlp_http, postgres, flight_sql, http } = servers.addresses;
    tracing::info!(?otlp_grpc, ?otlp_http, ?postgres, ?flight_sql, ?http, "ready");
    let name = signals.next().await;
    tracing::info!(signal = name, "stopping: no more connections, what was accepted is finished");
    connections.stop().await;
    servers.stop().await;
    tracing::info!("stopped");
    Ok(Outcome::Complete)
}

/// The signals that ask a server to stop.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Those that come from now on.
    pub fn new() -> Result<Self, CommandError> {
        let failed = |source| CommandError::System { action: "listen for signals", source };
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        Ok(Signals { interrupt, terminate })
    }

    /// The name of the next.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// Has anomalies published where `config` says, unless they are already.
async fn publish_anomalies(config: &Config, live: &Live) -> Result<(), CommandError> {
    let Some((brokers, topic)) = &config.kafka_anomalies else { return Ok(()) };
    let quoted = |text: &str| text.replace('\'', "''");
    let sink = format!(
        "CREATE SINK IF NOT EXISTS anomalies FROM anomalies INTO KAFKA (brokers = '{}', topic = '{}') KEY (id)",
        quoted(brokers),
        quoted(topic)
    );
    for statement in parse(&sink).map_err(OpenError::from)? {
        live.execute(statement).await.map_err(OpenError::from)?;
    }
    Ok(())
}

/// A running database as `config` wants it.
pub(super) async fn live(config: &Config) -> Result<Live, CommandError> {
    Ok(config.open(player::views(true, &config.queries)?).await?)
}

/// Sends structured logs to standard error.
pub(super) fn start_log(config: &Config) -> Result<(), CommandError> {
    let filter = EnvFilter::builder()
        .parse(&config.log_level)
        .map_err(|e| CommandError::Log { level: config.log_level.clone(), reason: e.to_string() })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process keeps the first log.
    let _ = match config.is_log_json {
        true => builder.json().flatten_event(true).try_init(),
        false => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    Ok(())
}
