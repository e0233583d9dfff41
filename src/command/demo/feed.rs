//! Simulated telemetry on its way into the engine.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prost::Message;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::command::CommandError;
use crate::engine::Source;
use crate::simulate::{Fault, Portion, Simulator};
use crate::telemetry::{Decoder, Limits, Origin, Signal};

/// How far the simulation has come; read by the screen.
pub(super) struct Progress {
    /// Simulated time, in nanoseconds since 1970 UTC.
    pub clock_ns: AtomicI64,
    /// Records handed over.
    pub records: AtomicU64,
    /// The faults drawn so far.
    pub faults: Mutex<Vec<Fault>>,
}

/// A thread that simulates, and hands over what it simulated.
pub(super) struct Feed {
    pub progress: Arc<Progress>,
    /// How it ended.
    pub done: oneshot::Receiver<Result<(), CommandError>>,
}

impl Feed {
    /// Starts it, `speed` times as fast as the wall clock, or as fast as the engine takes it; it ends with the
    /// simulation, or once `stop` is true.
    pub fn start(
        simulator: Simulator,
        source: Source,
        speed: Option<f64>,
        stop: Arc<AtomicBool>,
    ) -> Result<Feed, CommandError> {
        let progress = Arc::new(Progress {
            clock_ns: AtomicI64::new(0),
            records: AtomicU64::new(0),
            faults: Mutex::new(simulator.faults().to_vec()),
        });
        let (sender, done) = oneshot::channel();
        let runtime = Handle::current();
        let feeding = Feeding { source, runtime, progress: progress.clone() };
        std::thread::Builder::new()
            .name("simulator".to_owned())
            .spawn(move || drop(sender.send(feeding.run(simulator, speed, &stop))))
            .map_err(|source| CommandError::System { action: "start a thread", source })?;
        Ok(Feed { progress, done })
    }
}

struct Feeding {
    source: Source,
    runtime: Handle,
    progress: Arc<Progress>,
}

impl Feeding {
    fn run(
        self,
        mut simulator: Simulator,
        speed: Option<f64>,
        stop: &AtomicBool,
    ) -> Result<(), CommandError> {
        let (begin, mut seconds) = (Instant::now(), 0.0);
        while !stop.load(Ordering::Relaxed) {
            let Some(portion) = simulator.next() else { break };
            seconds += 1.0;
            if let Some(speed) = speed {
                let due = begin + Duration::from_secs_f64(seconds / speed);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            let faults = simulator.faults();
            if let Ok(mut known) = self.progress.faults.lock()
                && known.len() != faults.len()
            {
                *known = faults.to_vec();
            }
            self.hand_over(&portion)?;
        }
        Ok(())
    }

    /// Sends `portion` the way of any exporter: encoded, then decoded.
    fn hand_over(&self, portion: &Portion) -> Result<(), CommandError> {
        let origin = Origin { source: "demo".to_owned(), position: None };
        let mut decoder = Decoder::new(Limits::default(), portion.clock_ns);
        decoder.protobuf(Signal::Traces, &portion.traces.encode_to_vec(), &origin);
        decoder.protobuf(Signal::Metrics, &portion.metrics.encode_to_vec(), &origin);
        decoder.protobuf(Signal::Logs, &portion.logs.encode_to_vec(), &origin);
        let accepted = decoder.accepted();
        let receipt = self.runtime.block_on(self.source.send(decoder.finish()))?;
        self.runtime.block_on(receipt.durable())?;
        self.progress.records.fetch_add(accepted, Ordering::Relaxed);
        self.progress.clock_ns.store(portion.clock_ns, Ordering::Relaxed);
        Ok(())
    }
}
