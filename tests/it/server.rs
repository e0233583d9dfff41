//! A server as its users start it: the binary, on ports of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running `undercurrent serve`; killed when dropped.
pub struct Server {
    process: Child,
    log: Receiver<Value>,
    /// What it said that is no entry of the log.
    said: Arc<Mutex<Vec<String>>>,
    /// What it said when it was ready.
    ready: Value,
}

impl Server {
    /// Starts one with ticks of 50 ms, a clock that stands still at the end of the data, and `flags`.
    pub fn start(flags: &[&str]) -> Server {
        Server::start_with(flags, &[]).expect("the server tells what it does")
    }

    /// The same with environment variables; `None` where it ends before it is ready.
    pub fn start_with(flags: &[&str], environment: &[(&str, &str)]) -> Option<Server> {
        Server::start_within(&[], flags, environment)
    }

    /// The same by way of the command `within`, which becomes the server.
    pub fn start_within(within: &[String], flags: &[&str], environment: &[(&str, &str)]) -> Option<Server> {
        let ports = [
            "--otlp-grpc-listen",
            "--otlp-http-listen",
            "--postgres-listen",
            "--flight-sql-listen",
            "--http-listen",
        ];
        let binary = env!("CARGO_BIN_EXE_undercurrent");
        let mut command = match within {
            [] => Command::new(binary),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary);
                command
            }
        };
        command.arg("serve").args(["--log-format", "json", "--engine-tick", "50ms"]);
        let clock = [("--clock-follows-wall", "false"), ("--clock-ahead-max", "none")];
        let unsaid = clock.iter().filter(|(flag, _)| !flags.contains(flag));
        command.args(unsaid.flat_map(|(flag, value)| [flag, value]));
        command.args(ports.iter().flat_map(|port| [port, "127.0.0.1:0"])).args(flags);
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the binary runs");
        let (sender, log) = channel();
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let beside = said.clone();
        let lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    Ok(entry) => drop(sender.send(entry)),
                    Err(_) => {
                        eprintln!("server: {line}");
                        beside.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                    }
                }
            }
        });
        let mut server = Server { process, log, said, ready: Value::Null };
        server.ready = server.log_entry("ready", || PATIENCE)?;
        Some(server)
    }

    /// The next entry of the log whose message is `message`.
    pub fn logged(&self, message: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let left = || deadline.saturating_duration_since(Instant::now());
        self.log_entry(message, left).expect("the server tells what it does")
    }

    /// The next such entry, where each comes within `patience`.
    fn log_entry(&self, message: &str, patience: impl Fn() -> Duration) -> Option<Value> {
        loop {
            let entry = self.log.recv_timeout(patience()).ok()?;
            if entry["message"] == message {
                return Some(entry);
            }
        }
    }

    /// What it said that is no entry of the log: a panic, say.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().expect("a process").is_some()
    }

    /// Where `protocol` is spoken: `otlp_grpc`, `otlp_http`, `postgres`, `flight_sql` or `http`.
    pub fn address(&self, protocol: &str) -> SocketAddr {
        let text = self.ready[protocol].as_str().expect("an address");
        text.trim_start_matches("Some(").trim_end_matches(')').parse().expect("an address")
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends `signal` and waits for the end; whether it ended well.
    pub fn stop(&mut self, signal: &str) -> bool {
        let id = self.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().expect("kill").success());
        self.process.wait().expect("an end").success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Asks until `ask` gives what satisfies `is_wanted`, and returns it.
pub fn eventually<T: std::fmt::Debug>(mut ask: impl FnMut() -> T, is_wanted: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let last = ask();
        if is_wanted(&last) {
            return last;
        }
        assert!(Instant::now() < deadline, "still {last:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
