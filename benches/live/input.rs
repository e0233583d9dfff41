//! Requests to send.

use std::io::{BufRead, BufReader};
use std::path::Path;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;
use undercurrent::simulate::{Settings, Simulator};

/// Records of one request, about.
const REQUEST_RECORDS: usize = 1000;

/// An encoded request.
#[derive(Clone)]
pub struct Request {
    /// `traces`, `metrics` or `logs`.
    pub signal: &'static str,
    pub records: usize,
    pub body: Bytes,
}

/// All requests, in the order in which they are sent.
pub struct Input {
    pub name: &'static str,
    pub requests: Vec<Request>,
    pub records: usize,
}

impl Input {
    /// The trainticket day, or the simulated shop.
    pub fn load() -> Input {
        match std::env::var_os("UNDERCURRENT_SHARED") {
            Some(shared) => Input::new("the trainticket day", recorded(Path::new(&shared))),
            None => Input::new("two simulated hours", simulated()),
        }
    }

    fn new(name: &'static str, requests: Vec<Request>) -> Input {
        let records = requests.iter().map(|r| r.records).sum();
        Input { name, requests, records }
    }

    /// The requests with spans.
    pub fn spans_alone(&self) -> Input {
        Input::new(self.name, self.requests.iter().filter(|r| r.signal == "traces").cloned().collect())
    }
}

/// Gathers what belongs to one signal until a request is full.
struct Gathered<R> {
    signal: &'static str,
    request: R,
    records: usize,
}

impl<R: Message + Default> Gathered<R> {
    fn new(signal: &'static str) -> Self {
        Gathered { signal, request: R::default(), records: 0 }
    }

    fn add(&mut self, records: usize, merge: impl FnOnce(&mut R), requests: &mut Vec<Request>) {
        merge(&mut self.request);
        self.records += records;
        if self.records >= REQUEST_RECORDS {
            self.flush(requests);
        }
    }

    fn flush(&mut self, requests: &mut Vec<Request>) {
        if self.records > 0 {
            let body = std::mem::take(&mut self.request).encode_to_vec().into();
            requests.push(Request { signal: self.signal, records: std::mem::take(&mut self.records), body });
        }
    }
}

fn spans_of(request: &ExportTraceServiceRequest) -> usize {
    request.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum()
}

fn logs_of(request: &ExportLogsServiceRequest) -> usize {
    request.resource_logs.iter().flat_map(|r| &r.scope_logs).map(|s| s.log_records.len()).sum()
}

fn points_of(request: &ExportMetricsServiceRequest) -> usize {
    let metrics = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
    let points = metrics.map(|metric| match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        _ => 0,
    });
    points.sum()
}

/// The spans and logs of the trainticket day, alternating.
fn recorded(shared: &Path) -> Vec<Request> {
    let folder = shared.join("datasets/trainticket");
    let mut all: Vec<Vec<Request>> = vec![];
    let lines = |name: &str| {
        let path = ["", ".gz", ".zst"].map(|end| folder.join(format!("{name}.jsonl{end}")));
        let path = path.into_iter().find(|p| p.exists()).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let reader: Box<dyn std::io::Read> = match path.extension().and_then(|e| e.to_str()) {
            Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(file)),
            Some("zst") => Box::new(zstd::Decoder::new(file).unwrap()),
            _ => Box::new(file),
        };
        BufReader::with_capacity(1 << 20, reader).lines().map(Result::unwrap)
    };
    let mut requests = vec![];
    let mut traces: Gathered<ExportTraceServiceRequest> = Gathered::new("traces");
    for line in lines("traces") {
        let request: ExportTraceServiceRequest = serde_json::from_str(&line).unwrap();
        let spans = spans_of(&request);
        traces.add(spans, |all| all.resource_spans.extend(request.resource_spans), &mut requests);
    }
    traces.flush(&mut requests);
    all.push(std::mem::take(&mut requests));
    let mut logs: Gathered<ExportLogsServiceRequest> = Gathered::new("logs");
    for line in lines("logs") {
        // Some records of the day have times that are none.
        let Ok(request) = serde_json::from_str::<ExportLogsServiceRequest>(&line) else { continue };
        let records = logs_of(&request);
        logs.add(records, |all| all.resource_logs.extend(request.resource_logs), &mut requests);
    }
    logs.flush(&mut requests);
    all.push(requests);
    merged(all)
}

/// Streams of requests as one, each at its own even pace.
fn merged(streams: Vec<Vec<Request>>) -> Vec<Request> {
    let mut placed: Vec<(f64, Request)> = vec![];
    for stream in streams {
        let count = stream.len() as f64;
        placed.extend(stream.into_iter().enumerate().map(|(i, request)| (i as f64 / count, request)));
    }
    placed.sort_by(|a, b| a.0.total_cmp(&b.0));
    placed.into_iter().map(|(_, request)| request).collect()
}

fn simulated() -> Vec<Request> {
    let settings = Settings { seed: 1, requests_per_second: 20.0, ..Settings::default() };
    let mut requests = vec![];
    let mut traces: Gathered<ExportTraceServiceRequest> = Gathered::new("traces");
    let mut metrics: Gathered<ExportMetricsServiceRequest> = Gathered::new("metrics");
    let mut logs: Gathered<ExportLogsServiceRequest> = Gathered::new("logs");
    for portion in Simulator::new(settings).unwrap().take(7200) {
        let spans = spans_of(&portion.traces);
        traces.add(spans, |all| all.resource_spans.extend(portion.traces.resource_spans), &mut requests);
        let records = logs_of(&portion.logs);
        logs.add(records, |all| all.resource_logs.extend(portion.logs.resource_logs), &mut requests);
        let points = points_of(&portion.metrics);
        metrics.add(
            points,
            |all| all.resource_metrics.extend(portion.metrics.resource_metrics),
            &mut requests,
        );
    }
    traces.flush(&mut requests);
    metrics.flush(&mut requests);
    logs.flush(&mut requests);
    requests
}
