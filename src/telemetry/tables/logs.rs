//! `logs` under construction.

use crate::telemetry::columns::{Map, SmallInts, Text, Times};
use crate::telemetry::record::{Log, Reason, SpanId, TraceId, event_time, optional_time, small};
use crate::telemetry::{Batch, Limits, Table};

use super::{Group, Range};

/// One row a log record.
#[derive(Default)]
pub(in crate::telemetry) struct Logs {
    ts: Times,
    observed_at: Times,
    severity_number: SmallInts,
    severity_text: Text,
    /// Its open row is closed by `push`, as null when nothing was written to it.
    pub(in crate::telemetry) body: Text,
    event_name: Text,
    trace_id: Text,
    span_id: Text,
    service_name: Text,
    pub(in crate::telemetry) attributes: Map,
    resource_attributes: Map,
    scope_name: Text,
    times: Range,
}

impl Logs {
    pub(in crate::telemetry) fn push(
        &mut self,
        log: &Log<'_>,
        has_body: bool,
        group: &Group,
        limits: &Limits,
    ) -> Result<(), Reason> {
        let observed_at = optional_time("observed_at", log.observed_ns)?;
        let ts = event_time("ts", if log.ts_ns == 0 { log.observed_ns } else { log.ts_ns }, limits)?;
        let severity_number = small("severity number", log.severity_number)?;
        let trace_id: Option<TraceId> = log.trace_id.optional("trace id")?;
        let span_id: Option<SpanId> = log.span_id.optional("span id")?;

        self.times.add(ts);
        self.ts.push(ts);
        self.observed_at.push_option(observed_at);
        self.severity_number.push_option((severity_number != 0).then_some(severity_number));
        self.severity_text.push_or_null(&log.severity_text);
        self.body.close(has_body);
        self.event_name.push_or_null(&log.event_name);
        self.trace_id.push_or_null(trace_id.as_ref().map_or("", TraceId::as_str));
        self.span_id.push_or_null(span_id.as_ref().map_or("", SpanId::as_str));
        self.service_name.push_or_null(&group.service_name);
        self.attributes.close();
        self.resource_attributes.push(&group.attributes);
        self.scope_name.push_or_null(&group.scope_name);
        Ok(())
    }

    pub(in crate::telemetry) fn discard(&mut self) {
        self.body.discard();
        self.attributes.discard();
    }

    pub(in crate::telemetry) fn rows(&self) -> usize {
        self.ts.rows()
    }

    pub(in crate::telemetry) fn times(&self) -> Range {
        self.times
    }

    /// Bytes held, roughly.
    #[inline]
    pub(in crate::telemetry) fn size(&self) -> usize {
        96 * self.rows()
            + self.body.size()
            + self.attributes.size()
            + self.resource_attributes.size()
            + self.severity_text.size()
            + self.event_name.size()
            + self.service_name.size()
            + self.scope_name.size()
    }

    pub(in crate::telemetry) fn finish(&mut self) -> Option<Batch> {
        let columns = vec![
            self.ts.finish(),
            self.observed_at.finish(),
            self.severity_number.finish(),
            self.severity_text.finish(),
            self.body.finish(),
            self.event_name.finish(),
            self.trace_id.finish(),
            self.span_id.finish(),
            self.service_name.finish(),
            self.attributes.finish(),
            self.resource_attributes.finish(),
            self.scope_name.finish(),
        ];
        super::batch(Table::Logs, columns, std::mem::take(&mut self.times).get())
    }
}
