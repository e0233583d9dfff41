//! `undercurrent demo`: the engine on a simulated system, as it lives.

mod feed;
mod screen;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use self::feed::Feed;
use self::screen::Screen;
use super::serve::Signals;
use super::{CommandError, GenerateError, Outcome, arguments, serve};
use crate::config::Config;
use crate::serve::Servers;
use crate::simulate::{FaultPlan, Settings, Simulator};

/// How often the screen is drawn anew.
const REDRAWN_EVERY: Duration = Duration::from_secs(1);

/// How often the same is printed where the output is no terminal.
const PRINTED_EVERY: Duration = Duration::from_secs(10);

/// What each setting is where the demo wants another than a server: ticks in step with the screen, little memory,
/// and a clock that goes by simulated time alone.
const CONFIG: &[(&str, &str)] = &[
    ("engine.tick", "250ms"),
    ("engine.horizon", "5 minutes"),
    ("engine.stored_bytes_max", "64 MiB"),
    ("intake.bytes_max", "32 MiB"),
    ("clock.follows_wall", "false"),
    ("clock.ahead_max", "none"),
    ("log.level", "warn"),
];

#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// What chance is drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many times faster than the wall clock the simulated system lives (60x), or max: as fast as the engine takes it
    #[arg(long, value_name = "FACTOR", default_value = "60x", value_parser = parse_speed)]
    speed: Speed,
    /// Requests of simulated visitors per simulated second, about fifteen spans each
    #[arg(long, value_name = "N", default_value_t = crate::simulate::REQUESTS_PER_SECOND_DEFAULT)]
    rate: f64,
    /// Simulated time within which each kind of fault comes once
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = parse_duration)]
    cycle: Duration,
    /// End after this much simulated time, with the last view; by default at Ctrl-C
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Speed(Option<f64>);

fn parse_speed(text: &str) -> Result<Speed, String> {
    match text {
        "max" => Ok(Speed(None)),
        factor => arguments::parse_speed(factor).map(|f| Speed(Some(f))).map_err(|e| format!("{e}, or max")),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let ms = crate::sql::statement::parse_duration_ms(text);
    ms.map(Duration::from_millis).ok_or_else(|| "a duration such as 30m or 2h is expected".to_owned())
}

/// Runs until the simulated time is over, or until SIGINT (Ctrl-C) or SIGTERM.
pub(super) fn run(arguments: &DemoArguments) -> Result<Outcome, CommandError> {
    let settings = Settings {
        seed: arguments.seed,
        duration: arguments.duration,
        requests_per_second: arguments.rate,
        faults: FaultPlan::Scheduled { cycle: arguments.cycle },
        ..Settings::default()
    };
    let simulator = Simulator::new(settings).map_err(GenerateError::Simulate)?;
    let config = config()?;
    serve::start_log(&config)?;
    let runtime = serve::runtime()?;
    runtime.block_on(live(arguments, simulator, config))
}

async fn live(
    arguments: &DemoArguments,
    simulator: Simulator,
    mut config: Config,
) -> Result<Outcome, CommandError> {
    let mut signals = Signals::new()?;
    let live = serve::live(&config).await?;
    avoid_taken_ports(&mut config);
    let servers = Servers::start(config, live.clone()).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let feed = Feed::start(simulator, live.source(), arguments.speed.0, stop.clone())?;
    let mut screen = Screen::new(live, servers.addresses, feed.progress.clone(), arguments.speed.0);
    let every = if screen.is_terminal() { REDRAWN_EVERY } else { PRINTED_EVERY };
    let mut redraw = tokio::time::interval(every);
    redraw.tick().await;
    let mut fed = feed.done;
    let ended = loop {
        tokio::select! {
            _ = redraw.tick() => screen.draw().await?,
            ended = &mut fed => break Some(ended),
            _ = signals.next() => {
                stop.store(true, Ordering::Relaxed);
                break None;
            }
        }
    };
    // The last view is of all that was fed, unless somebody does not want to wait.
    if ended.is_some() {
        tokio::select! {
            done = screen.catch_up() => done?,
            _ = signals.next() => {}
        }
    }
    screen.draw().await?;
    servers.stop().await;
    match ended {
        None => Ok(Outcome::Complete),
        Some(Ok(result)) => result.map(|()| Outcome::Complete),
        Some(Err(_)) => {
            let source = std::io::Error::other("its thread stopped; see its panic above");
            Err(CommandError::System { action: "simulate", source })
        }
    }
}

/// The settings of a server, environment included, with those of the demo over them.
fn config() -> Result<Config, CommandError> {
    let flags: Vec<(&'static str, String)> =
        CONFIG.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    Ok(Config::load(None, |name| std::env::var(name).ok(), &flags)?)
}

/// Lets each port of `config` that is taken give way to any that is free.
fn avoid_taken_ports(config: &mut Config) {
    for listen in [
        &mut config.otlp_grpc_listen,
        &mut config.otlp_http_listen,
        &mut config.postgres_listen,
        &mut config.flight_sql_listen,
        &mut config.http_listen,
    ] {
        *listen = listen.map(free);
    }
}

/// `address`, or the same host with any free port.
fn free(address: SocketAddr) -> SocketAddr {
    match TcpListener::bind(address) {
        Ok(_) => address,
        Err(_) => SocketAddr::new(address.ip(), 0),
    }
}
