//! Telemetry sent by OTLP over gRPC, as an exporter would.

use std::future::Future;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use tokio::time::Instant;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use super::arguments::{Compress, Speed};
use super::requests::{Counts, Requests};
use super::{CommandError, GenerateArguments, GenerateError, Progress, simulator, write_truth};
use crate::simulate::Portion;

/// Portions simulated ahead of the sending.
const PORTIONS_AHEAD: usize = 4;

/// How long a request may take to be answered.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The wait before a request is sent again; it doubles each time, up to the longest.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LONGEST: Duration = Duration::from_secs(5);

/// How long a request is sent again and again.
const RETRIED_FOR: Duration = Duration::from_secs(300);

/// Simulates and sends until it is over, or interrupted. Returns how much, and how many records were rejected.
pub(super) fn send(arguments: &GenerateArguments, endpoint: &str) -> Result<(Counts, u64), CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| CommandError::System { action: "start the sending", source })?;
    let mut simulator = simulator(&arguments.system, None).map_err(GenerateError::from)?;
    let mut client = runtime.block_on(Client::connect(endpoint, arguments.compress))?;
    let progress = Progress::new(arguments, arguments.system.duration);
    let (sender, portions) = sync_channel(PORTIONS_AHEAD);
    let simulation = std::thread::Builder::new()
        .name("simulation".to_owned())
        .spawn(move || {
            for portion in simulator.by_ref() {
                if sender.send(portion).is_err() {
                    break;
                }
            }
            simulator
        })
        .map_err(|source| CommandError::System { action: "start a thread", source })?;
    let sent = runtime.block_on(async {
        let interrupted = tokio::signal::ctrl_c();
        tokio::select! {
            sent = client.send_all(&portions, arguments.speed, &progress) => sent,
            _ = interrupted => Ok(()),
        }
    });
    drop(portions);
    progress.finish();
    let simulator = simulation.join().map_err(|_| {
        let source = std::io::Error::other("the simulation stopped; see its panic above");
        CommandError::System { action: "simulate to the end", source }
    })?;
    if let Some(path) = &arguments.truth {
        write_truth(&simulator.truth(), path)?;
    }
    sent?;
    Ok((client.counts, client.rejected))
}

/// The three services of a receiver.
struct Client {
    endpoint: String,
    traces: TraceServiceClient<Channel>,
    metrics: MetricsServiceClient<Channel>,
    logs: LogsServiceClient<Channel>,
    counts: Counts,
    rejected: u64,
}

impl Client {
    async fn connect(endpoint: &str, compress: Compress) -> Result<Self, GenerateError> {
        let name = || endpoint.to_owned();
        let address = Endpoint::from_shared(endpoint.to_owned())
            .map_err(|source| GenerateError::Endpoint { endpoint: name(), source })?;
        let channel = address.timeout(REQUEST_TIMEOUT).connect().await;
        let channel = channel.map_err(|source| GenerateError::Connect { endpoint: name(), source })?;
        let mut client = Client {
            endpoint: name(),
            traces: TraceServiceClient::new(channel.clone()),
            metrics: MetricsServiceClient::new(channel.clone()),
            logs: LogsServiceClient::new(channel),
            counts: Counts::default(),
            rejected: 0,
        };
        let encoding = match compress {
            Compress::None => return Ok(client),
            Compress::Gzip => CompressionEncoding::Gzip,
            Compress::Zstd => CompressionEncoding::Zstd,
        };
        client.traces = client.traces.send_compressed(encoding);
        client.metrics = client.metrics.send_compressed(encoding);
        client.logs = client.logs.send_compressed(encoding);
        Ok(client)
    }

    /// Sends all portions, each when it is due.
    async fn send_all(
        &mut self,
        portions: &Receiver<Portion>,
        speed: Speed,
        progress: &Progress,
    ) -> Result<(), GenerateError> {
        let mut begin: Option<(Instant, i64)> = None;
        while let Ok(portion) = portions.recv() {
            if let Speed::Times(factor) = speed {
                let (begin, first_ns) = *begin.get_or_insert_with(|| (Instant::now(), portion.clock_ns));
                let simulated = Duration::from_nanos((portion.clock_ns - first_ns).max(0) as u64);
                tokio::time::sleep_until(begin + simulated.div_f64(factor)).await;
            }
            self.counts.add(&portion);
            progress.tell(&self.counts, &portion);
            self.send(Requests::new(portion)).await?;
            // Interruption is seen here, even when nothing is waited for.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn send(&mut self, requests: Requests) -> Result<(), GenerateError> {
        for request in requests.traces {
            self.counts.bytes += request.encoded_len() as u64;
            let client = &self.traces;
            let answer = retried(&self.endpoint, || {
                let (mut client, request) = (client.clone(), request.clone());
                async move { client.export(request).await }
            });
            self.rejected += answer.await?.partial_success.map_or(0, |p| p.rejected_spans.max(0) as u64);
        }
        for request in requests.metrics {
            self.counts.bytes += request.encoded_len() as u64;
            let client = &self.metrics;
            let answer = retried(&self.endpoint, || {
                let (mut client, request) = (client.clone(), request.clone());
                async move { client.export(request).await }
            });
            let rejected = answer.await?.partial_success.map_or(0, |p| p.rejected_data_points);
            self.rejected += rejected.max(0) as u64;
        }
        for request in requests.logs {
            self.counts.bytes += request.encoded_len() as u64;
            let client = &self.logs;
            let answer = retried(&self.endpoint, || {
                let (mut client, request) = (client.clone(), request.clone());
                async move { client.export(request).await }
            });
            let rejected = answer.await?.partial_success.map_or(0, |p| p.rejected_log_records);
            self.rejected += rejected.max(0) as u64;
        }
        Ok(())
    }
}

/// Sends a request until it is taken, refused for good, or refused for too long.
async fn retried<R, F>(endpoint: &str, mut send: impl FnMut() -> F) -> Result<R, GenerateError>
where
    F: Future<Output = Result<Response<R>, Status>>,
{
    let begin = Instant::now();
    let mut backoff = BACKOFF_FIRST;
    for attempts in 1.. {
        let status = match send().await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) => status,
        };
        match wait(&status, backoff).filter(|_| begin.elapsed() < RETRIED_FOR) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => {
                let source = Box::new(status);
                return Err(GenerateError::Refused { endpoint: endpoint.to_owned(), attempts, source });
            }
        }
        backoff = (backoff * 2).min(BACKOFF_LONGEST);
    }
    unreachable!("the loop has no end but those above")
}

/// How long to wait before a request that was refused with `status` is sent again; nothing when it must not be.
fn wait(status: &Status, backoff: Duration) -> Option<Duration> {
    let told = told_wait(status);
    match status.code() {
        // Full for now, or broken for good: only the receiver knows.
        Code::ResourceExhausted => told,
        Code::Unavailable
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::DataLoss => Some(told.unwrap_or(backoff)),
        _ => None,
    }
}

/// `google.rpc.Status`, which comes with an error.
#[derive(Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// `google.rpc.RetryInfo`.
#[derive(Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

/// The wait that the receiver asks for.
fn told_wait(status: &Status) -> Option<Duration> {
    let details = RpcStatus::decode(status.details()).ok()?.details;
    let info = details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay?;
    Some(Duration::try_from(delay).ok()?.min(RETRIED_FOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: Code, delay_s: Option<i64>) -> Status {
        let details = delay_s.map(|seconds| {
            let delay = prost_types::Duration { seconds, nanos: 0 };
            let value = RetryInfo { retry_delay: Some(delay) }.encode_to_vec();
            let type_url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
            RpcStatus { details: vec![prost_types::Any { type_url, value }] }.encode_to_vec()
        });
        Status::with_details(code, "no", details.unwrap_or_default().into())
    }

    #[test]
    fn only_what_may_pass_is_sent_again() {
        let backoff = Duration::from_millis(400);
        assert_eq!(wait(&refused(Code::Unavailable, None), backoff), Some(backoff));
        assert_eq!(wait(&refused(Code::Unavailable, Some(3)), backoff), Some(Duration::from_secs(3)));
        assert_eq!(wait(&refused(Code::ResourceExhausted, Some(2)), backoff), Some(Duration::from_secs(2)));
        assert_eq!(wait(&refused(Code::ResourceExhausted, None), backoff), None);
        assert_eq!(wait(&refused(Code::InvalidArgument, Some(2)), backoff), None);
        assert_eq!(wait(&refused(Code::Unavailable, Some(1 << 40)), backoff), Some(RETRIED_FOR));
    }
}
