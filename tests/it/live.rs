//! A server within the test: what it takes in is pushed, what it answers is asked for by real clients.

use std::future::Future;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;
use undercurrent::built_in;
use undercurrent::config::Config;
use undercurrent::engine::{Live, Source};
use undercurrent::serve::{Addresses, Servers};

use crate::server::PATIENCE;
use crate::support::{batch, table};

/// Running servers, on ports of their own.
pub struct Running {
    pub live: Live,
    pub addresses: Addresses,
    source: Source,
    servers: Option<Servers>,
    runtime: Runtime,
}

impl Running {
    /// Starts them with ticks of 20 ms, a clock that follows events alone, and `settings`.
    pub fn start(settings: &[(&'static str, &str)]) -> Self {
        let ports =
            ["otlp.grpc_listen", "otlp.http_listen", "postgres.listen", "flight_sql.listen", "http.listen"];
        let mut flags: Vec<(&'static str, String)> =
            ports.iter().map(|port| (*port, "127.0.0.1:0".to_owned())).collect();
        for (key, value) in [
            ("engine.tick", "20ms"),
            ("clock.follows_wall", "false"),
            ("clock.ahead_max", "none"),
            ("engine.views", ""),
            ("engine.retention", "none"),
        ] {
            flags.push((key, value.to_owned()));
        }
        flags.extend(settings.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let config = Config::load(None, |_| None, &flags).expect("a configuration");
        let runtime = Runtime::new().expect("a runtime");
        let views = built_in::views().expect("the built-in views");
        let live = runtime.block_on(config.open(views)).expect("a live database");
        let servers = runtime.block_on(Servers::start(config, live.clone())).expect("servers");
        let source = live.source();
        Running { addresses: servers.addresses, source, live, servers: Some(servers), runtime }
    }

    /// Takes in rows of the stream table `name`.
    pub fn append(&self, name: &str, rows: &[Value]) {
        self.source.try_send(vec![batch(table(name), rows)]).expect("space");
    }

    /// Waits for `work`, for as long as a test may.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        let within = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await });
        within.expect("an answer in time")
    }

    /// Runs `work` beside the test.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(servers) = self.servers.take() {
            let stop = async { tokio::time::timeout(Duration::from_secs(30), servers.stop()).await };
            let _ = self.runtime.block_on(stop);
        }
    }
}
