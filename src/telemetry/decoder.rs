//! The decoder: where requests go in and batches come out.

use super::record::{Event, Link, Log, Metric, MetricType, Point, Reason, Span};
use super::tables::{Group, GroupFault, IngestErrors, Logs, Metrics, Parent, SpanEvents, SpanLinks, Spans};
use super::{Batch, Limits, Origin, Signal, json, protobuf};

/// Decodes OTLP requests into rows and buffers them until [`Decoder::finish`].
///
/// Rows keep the order in which their records came. Call `finish` every few thousand rows, as [`Decoder::rows`] and
/// [`Decoder::bytes`] tell: the buffers grow until then. One decoder serves one thread; several are independent.
pub struct Decoder {
    pub(super) limits: Limits,
    received_at_ns: i64,
    pub(super) group: Group,
    pub(super) spans: Spans,
    pub(super) span_links: SpanLinks,
    pub(super) span_events: SpanEvents,
    pub(super) metrics: Metrics,
    pub(super) logs: Logs,
    errors: IngestErrors,
    accepted: u64,
    rejected: u64,
}

impl Decoder {
    /// A decoder with nothing buffered. `received_at_ns`, in nanoseconds since 1970 UTC, is what
    /// `ingest_errors.received_at` shows: the decoder reads no clock.
    pub fn new(limits: Limits, received_at_ns: i64) -> Decoder {
        Decoder {
            limits: limits.sound(),
            received_at_ns,
            group: Group::default(),
            spans: Spans::default(),
            span_links: SpanLinks::default(),
            span_events: SpanEvents::default(),
            metrics: Metrics::default(),
            logs: Logs::default(),
            errors: IngestErrors::default(),
            accepted: 0,
            rejected: 0,
        }
    }

    /// Time has gone on: from here on `limits` and `received_at_ns` hold. What is buffered stays.
    pub fn renew(&mut self, limits: Limits, received_at_ns: i64) {
        self.limits = limits.sound();
        self.received_at_ns = received_at_ns;
    }

    /// Decodes one `Export*ServiceRequest` written as JSON, such as a line of the OpenTelemetry Collector's file
    /// exporter. Its top-level keys `resourceSpans`, `resourceMetrics` and `resourceLogs` tell the signal.
    ///
    /// Never fails: a wrong record becomes a row of `ingest_errors` and the others are kept. Text that is not JSON
    /// gives one row of kind `request` that names the place; the records before the place are kept. `{}` is an empty
    /// request and valid.
    pub fn json(&mut self, request: &[u8], origin: &Origin) {
        if self.request_fits(request, origin) {
            json::decode(self, request, origin);
        }
    }

    /// Decodes one `Export*ServiceRequest` in protobuf. Nothing at all is an empty request and valid.
    ///
    /// Never fails: a wrong record becomes a row of `ingest_errors` and the others are kept. A request that is cut off
    /// or damaged above its records gives one row of kind `request`; the records that can be read are kept.
    pub fn protobuf(&mut self, signal: Signal, request: &[u8], origin: &Origin) {
        if self.request_fits(request, origin) {
            protobuf::decode(self, signal, request, origin);
        }
    }

    /// Adds a row to `ingest_errors` for what the caller found wrong before decoding: a line that is too long, a
    /// compressed stream that is damaged. Counts as one record rejected.
    pub fn reject(&mut self, origin: &Origin, kind: &str, reason: &str, sample: &[u8]) {
        self.reject_records(origin, kind, reason, sample, 1);
    }

    /// Rows buffered, over all tables and `ingest_errors`.
    pub fn rows(&self) -> usize {
        self.spans.rows()
            + self.span_links.rows()
            + self.span_events.rows()
            + self.metrics.rows()
            + self.logs.rows()
            + self.errors.rows()
    }

    /// Bytes buffered, roughly, over all tables.
    pub fn bytes(&self) -> usize {
        self.spans.size()
            + self.span_links.size()
            + self.span_events.size()
            + self.metrics.size()
            + self.logs.size()
            + self.errors.size()
    }

    /// Records accepted since the decoder was made: spans, links, events, data points and log records.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Records rejected since the decoder was made. A rejected span is one record, with its links and events; a
    /// rejected resource, scope or metric counts as the records it takes with it; what cannot be read counts as one.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// The least and the greatest event time buffered, in nanoseconds since 1970 UTC, over all tables but
    /// `ingest_errors`; nothing when they are empty.
    pub fn event_time_ns(&self) -> Option<(i64, i64)> {
        let tables = [
            self.spans.times(),
            self.span_links.times(),
            self.span_events.times(),
            self.metrics.times(),
            self.logs.times(),
        ];
        let ranges = tables.into_iter().filter_map(|times| times.get());
        ranges.reduce(|(least, greatest), (from, to)| (least.min(from), greatest.max(to)))
    }

    /// Takes what is buffered, as one batch for each table that has rows, in the order of [`super::Table::all`]. The
    /// decoder is empty then and may be used on.
    pub fn finish(&mut self) -> Vec<Batch> {
        let batches = [
            self.spans.finish(),
            self.span_links.finish(),
            self.span_events.finish(),
            self.metrics.finish(),
            self.logs.finish(),
            self.errors.finish(),
        ];
        batches.into_iter().flatten().collect()
    }

    fn request_fits(&mut self, request: &[u8], origin: &Origin) -> bool {
        let (bytes, bytes_max) = (request.len(), self.limits.request_bytes_max);
        if bytes > bytes_max {
            let reason = format!("request has {bytes} bytes, {bytes_max} allowed. Send smaller batches.");
            self.reject(origin, "request", &reason, request);
        }
        bytes <= bytes_max
    }

    /// Rejects some records for one reason.
    #[cold]
    pub(super) fn reject_records(
        &mut self,
        origin: &Origin,
        kind: &str,
        reason: &str,
        sample: &[u8],
        records: u64,
    ) {
        self.rejected += records;
        // A table of errors that is full says so already many times over; the counter goes on.
        if self.errors.size() < self.limits.table_bytes_max {
            let sample_bytes_max = self.limits.sample_bytes_max;
            self.errors.push(self.received_at_ns, origin, kind, reason, sample, sample_bytes_max);
        }
    }

    /// Notes what is wrong with the resource, scope or metric being read, which `label` calls by name; all its records
    /// will be rejected. A fault noted earlier stays.
    #[cold]
    pub(super) fn note_fault(&mut self, kind: &'static str, label: &str, reason: Reason, sample: &[u8]) {
        let sample = sample[..sample.len().min(self.limits.sample_bytes_max)].to_vec();
        let reason = format!("{label}: {reason}");
        self.group.fault.get_or_insert(GroupFault { kind, reason, sample, records: 0 });
    }

    /// Ends the thing of the given kind: its fault, if one was noted, is reported.
    #[inline]
    pub(super) fn end_group(&mut self, kind: &str, origin: &Origin) {
        if self.group.fault.as_ref().is_none_or(|fault| fault.kind != kind) {
            return;
        }
        if let Some(GroupFault { kind, reason, sample, records }) = self.group.fault.take() {
            // A reason that ends in a hint ends in a full stop.
            let sentence = if reason.ends_with('.') { " It takes" } else { ". It takes" };
            let reason = match records {
                0 => reason,
                1 => format!("{reason}{sentence} 1 record with it."),
                records => format!("{reason}{sentence} {records} records with it."),
            };
            self.reject_records(origin, kind, &reason, &sample, records.max(1));
        }
    }

    #[inline]
    fn room(&self, size: usize) -> Result<(), Reason> {
        if size <= self.limits.table_bytes_max { Ok(()) } else { Err(self.no_room()) }
    }

    #[cold]
    fn no_room(&self) -> Reason {
        let bytes_max = self.limits.table_bytes_max;
        format!("more than {bytes_max} bytes of rows are buffered already. Send smaller batches.")
    }

    /// Checks a span and appends it, its attributes being written already.
    #[inline]
    pub(super) fn push_span(&mut self, span: &Span<'_>) -> Result<Parent, Reason> {
        self.room(self.spans.size())?;
        let parent = self.spans.push(span, &self.group, &self.limits)?;
        self.accepted += 1;
        Ok(parent)
    }

    pub(super) fn push_link(&mut self, link: &Link<'_>, parent: &Parent) -> Result<(), Reason> {
        self.room(self.span_links.size())?;
        self.span_links.push(link, parent, &self.group)?;
        self.accepted += 1;
        Ok(())
    }

    pub(super) fn push_event(&mut self, event: &Event<'_>, parent: &Parent) -> Result<(), Reason> {
        self.room(self.span_events.size())?;
        self.span_events.push(event, parent, &self.group, &self.limits)?;
        self.accepted += 1;
        Ok(())
    }

    #[inline]
    pub(super) fn push_log(&mut self, log: &Log<'_>, has_body: bool) -> Result<(), Reason> {
        self.room(self.logs.size())?;
        self.logs.push(log, has_body, &self.group, &self.limits)?;
        self.accepted += 1;
        Ok(())
    }

    #[inline]
    pub(super) fn push_point(
        &mut self,
        point: &Point,
        metric: &Metric<'_>,
        metric_type: MetricType,
    ) -> Result<(), Reason> {
        self.room(self.metrics.size())?;
        self.metrics.push(point, metric, metric_type, &self.group, &self.limits)?;
        self.accepted += 1;
        Ok(())
    }
}
