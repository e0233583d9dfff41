//! What becomes of a request of telemetry, whatever protocol it came by.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::array::AsArray;
use axum::body::Body;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::body::{self, Buffer, Encoding, Room, decompressed};
use super::refusal::Refusal;
use super::sources::Sources;
use crate::config::Config;
use crate::engine::{Live, Receipt};
use crate::observe::Metrics;
use crate::serve::Context;
use crate::telemetry::{Batch, Decoder, Limits, Origin, Signal, Table};

/// Bodies of all requests under way, in units of the largest allowed: beyond, senders are told to wait.
const BODIES_MAX: usize = 8;

/// How many bytes of rows one byte of the largest request may become, as many spans sharing a large resource do.
/// Records beyond are rejected.
const UNFOLDING_MAX: usize = 8;

/// Bodies up to this size are decoded where they arrive, which takes less than a millisecond.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// The same for compressed bodies, which may be a thousand times as long decompressed.
const INLINE_COMPRESSED_BYTES_MAX: usize = 4 << 10;

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Protobuf,
    Json,
}

/// A request for export, but for its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Export {
    pub signal: Signal,
    pub format: Format,
    pub encoding: Encoding,
    /// Who sends it.
    pub peer: IpAddr,
}

/// A request was taken in: all of its records that are not counted here, every view will see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Spans, data points or log records that were not taken in, and never will be.
    pub rejected: u64,
    /// Why; empty where there is nothing to say.
    pub message: String,
}

/// What the requests of all ports share.
#[derive(Clone)]
pub(in crate::serve) struct Capacity {
    room: Room,
    /// The right to decode beside the tasks that serve connections.
    turns: Arc<Semaphore>,
}

impl Capacity {
    /// Room for some of the largest bodies, and a turn for each processor.
    pub fn new(config: &Config) -> Self {
        let turns = std::thread::available_parallelism().map_or(1, usize::from);
        let room = Room::new(body_bytes_max(config).saturating_mul(BODIES_MAX));
        Capacity { room, turns: Arc::new(Semaphore::new(turns)) }
    }
}

/// The most bytes of a body: as it is set, as far as the decoder takes it.
fn body_bytes_max(config: &Config) -> usize {
    config.otlp_body_bytes_max.min(Limits::REQUEST_BYTES_MAX)
}

/// Takes in the requests of one port.
pub(super) struct Intake {
    live: Live,
    protocol: &'static str,
    sources: Sources,
    capacity: Capacity,
    body_bytes_max: usize,
    request_timeout: Duration,
    /// How far event times may be ahead of the wall clock: only where they cannot take the stream clock with them.
    is_time_bounded: bool,
}

impl Intake {
    /// The intake of the port on which `protocol` is spoken.
    pub fn new(context: &Context, protocol: &'static str, capacity: Capacity) -> Self {
        Intake {
            live: context.live.clone(),
            protocol,
            sources: Sources::new(context.live.clone()),
            capacity,
            body_bytes_max: body_bytes_max(&context.config),
            request_timeout: context.config.request_timeout,
            is_time_bounded: context.config.clock_ahead_max.is_some(),
        }
    }

    /// Reads the body of a request, of which `frame_bytes` more than the limit are the protocol's own.
    pub async fn read(
        &self,
        export: &Export,
        body: Body,
        frame_bytes: usize,
        is_awaited: bool,
    ) -> Result<Buffer, Refusal> {
        // Nothing is read for an engine that takes nothing.
        self.live.check().map_err(|error| Refusal::Stopped(error.to_string()))?;
        let mut buffer = self.capacity.room.buffer(self.body_bytes_max + frame_bytes);
        match body::read(body, &mut buffer, self.request_timeout, is_awaited).await {
            Ok(()) => Ok(buffer),
            Err(refusal) => Err(self.refuse(export, self.sized(refusal), buffer.bytes())),
        }
    }

    /// Decodes `body`, hands what is in it to the engine, and waits until that is durable.
    pub async fn take(self: &Arc<Self>, export: Export, body: Buffer) -> Result<Accepted, Refusal> {
        let (accepted, receipt) = self.hand_over(export, body).await?;
        if let Some(receipt) = receipt {
            receipt.durable().await?;
        }
        Ok(accepted)
    }

    async fn hand_over(
        self: &Arc<Self>,
        export: Export,
        body: Buffer,
    ) -> Result<(Accepted, Option<Receipt>), Refusal> {
        self.live.check().map_err(|error| Refusal::Stopped(error.to_string()))?;
        let inline_bytes_max = match export.encoding {
            Encoding::Identity => INLINE_BYTES_MAX,
            _ => INLINE_COMPRESSED_BYTES_MAX,
        };
        if body.bytes().len() <= inline_bytes_max {
            return self.decode(&export, body);
        }
        let busy = || Refusal::Full("the decoders are busy".to_owned());
        let turn = timeout(self.request_timeout, self.capacity.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let intake = self.clone();
        let decoded = spawn_blocking(move || {
            let _turn = turn;
            intake.decode(&export, body)
        });
        decoded.await.map_err(|_| Refusal::Stopped("the decoder has stopped".to_owned()))?
    }

    /// Counts a request by what became of it, and gives that back.
    pub fn counted(
        &self,
        signal: Option<Signal>,
        outcome: Result<Accepted, Refusal>,
    ) -> Result<Accepted, Refusal> {
        let status = match &outcome {
            Ok(accepted) if *accepted == Accepted::default() => "accepted",
            Ok(_) => "partial",
            Err(refusal) => refusal.status(),
        };
        let signal = signal.map_or("", Signal::name);
        self.metrics().ingest_requests.with_label_values(&[self.protocol, signal, status]).inc();
        outcome
    }

    /// Refuses a request of which nothing was decoded. `ingest_errors` tells of it where telemetry is lost by it; a
    /// full intake has no room for that either.
    pub fn refuse(&self, export: &Export, refusal: Refusal, sample: &[u8]) -> Refusal {
        if refusal.loses_telemetry() {
            let mut decoder = self.decoder();
            decoder.reject(&self.origin(export), "request", &refusal.to_string(), sample);
            let _ = self.sources.of(export.peer, Instant::now()).try_send(decoder.finish());
        }
        refusal
    }

    fn decode(&self, export: &Export, body: Buffer) -> Result<(Accepted, Option<Receipt>), Refusal> {
        let mut decoder = self.decoder();
        let origin = self.origin(export);
        let body = decompressed(export.encoding, body);
        let body = body.map_err(|refusal| self.refuse(export, self.sized(refusal), &[]))?;
        let (bytes, signal) = (body.bytes(), export.signal);
        self.metrics()
            .ingest_bytes
            .with_label_values(&[self.protocol, signal.name()])
            .inc_by(bytes.len() as u64);
        match export.format {
            // No text at all is no JSON, but says as much as `{}`.
            Format::Json if bytes.is_empty() => {}
            Format::Json => decoder.json(bytes, &origin),
            Format::Protobuf => decoder.protobuf(signal, bytes, &origin),
        }
        let (accepted, rejected) = (decoder.accepted(), decoder.rejected());
        let batches = decoder.finish();
        if let Some(stranger) = batches.iter().find(|batch| !is_of(batch.table, signal)) {
            let reason = format!("a request of {} holds rows of {}", signal.name(), stranger.table.name());
            return Err(self.refuse(export, Refusal::Unreadable(reason), bytes));
        }
        let faults = Faults::of(&batches);
        let receipt = match batches.is_empty() {
            true => None,
            false => Some(self.sources.of(export.peer, Instant::now()).try_send(batches)?),
        };
        match faults.first {
            Some(reason) if accepted == 0 && faults.is_unreadable => Err(Refusal::Unreadable(reason)),
            Some(reason) => {
                let rejected = rejected.saturating_sub(faults.parts);
                let more = match faults.rows {
                    1 => "",
                    _ => "; ingest_errors tells of the others",
                };
                Ok((Accepted { rejected, message: format!("{reason}{more}") }, receipt))
            }
            None => Ok((Accepted::default(), receipt)),
        }
    }

    /// A decoder of one request. It takes its buffers along into the batches: there is nothing to reuse.
    fn decoder(&self) -> Decoder {
        let now = SystemTime::now();
        let received_at_ns = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64);
        let limits = if self.is_time_bounded { Limits::at(now) } else { Limits::default() };
        let table_bytes_max = self.body_bytes_max.saturating_mul(UNFOLDING_MAX);
        Decoder::new(Limits { table_bytes_max, ..limits }, received_at_ns)
    }

    fn origin(&self, export: &Export) -> Origin {
        let peer = export.peer.to_canonical();
        Origin { source: format!("{} {peer}", self.protocol), position: None }
    }

    /// `refusal` with the limit as it is set, without what the protocol adds to it.
    fn sized(&self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::TooLarge { .. } => Refusal::TooLarge { bytes_max: self.body_bytes_max },
            other => other,
        }
    }

    fn metrics(&self) -> &Metrics {
        self.live.metrics()
    }
}

/// Whether requests of `signal` fill `table`.
fn is_of(table: Table, signal: Signal) -> bool {
    match table {
        Table::Spans | Table::SpanLinks | Table::SpanEvents => signal == Signal::Traces,
        Table::Metrics => signal == Signal::Metrics,
        Table::Logs => signal == Signal::Logs,
        Table::IngestErrors => true,
    }
}

/// What the rows of `ingest_errors` of one request say.
#[derive(Default)]
struct Faults {
    rows: usize,
    /// The reason of the first row.
    first: Option<String>,
    /// Whether the request itself is damaged, above its records.
    is_unreadable: bool,
    /// Links and events: they are no records of their own to the sender.
    parts: u64,
}

impl Faults {
    fn of(batches: &[Batch]) -> Self {
        let mut faults = Faults::default();
        for batch in batches.iter().filter(|batch| batch.table == Table::IngestErrors) {
            let text =
                |name| batch.rows.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            faults.rows += batch.rows.num_rows();
            faults.first = text("reason").map(|reasons| reasons.value(0).to_owned());
            for kind in text("kind").into_iter().flatten().flatten() {
                faults.is_unreadable |= kind == "request";
                faults.parts += u64::from(kind == "span_link" || kind == "span_event");
            }
        }
        faults
    }
}
