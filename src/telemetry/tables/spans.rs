//! `spans`, `span_links` and `span_events` under construction.

use crate::telemetry::columns::{Ints, Map, Text, Times};
use crate::telemetry::record::{
    Event, Link, Moment, Nanoseconds, Reason, Span, SpanId, TraceId, event_time, filled, named,
};
use crate::telemetry::{Batch, Limits, Table};

use super::{Group, Range};

const KINDS: [&str; 6] = ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
const STATUS_CODES: [&str; 3] = ["UNSET", "OK", "ERROR"];

/// What the links and events of an accepted span take from it.
#[derive(Clone, Copy)]
pub(in crate::telemetry) struct Parent {
    trace_id: TraceId,
    span_id: SpanId,
    started_at: i64,
}

impl Parent {
    /// How reasons call the link or event of the span.
    pub(in crate::telemetry) fn label(&self, kind: &str) -> String {
        format!("{kind} of span \"{}\"", self.span_id.as_str())
    }
}

/// One row a span.
#[derive(Default)]
pub(in crate::telemetry) struct Spans {
    trace_id: Text,
    span_id: Text,
    parent_span_id: Text,
    trace_state: Text,
    service_name: Text,
    name: Text,
    kind: Text,
    started_at: Times,
    ended_at: Times,
    duration_ns: Ints,
    status_code: Text,
    status_message: Text,
    scope_name: Text,
    scope_version: Text,
    pub(in crate::telemetry) attributes: Map,
    resource_attributes: Map,
    pub(super) times: Range,
}

impl Spans {
    pub(in crate::telemetry) fn push(
        &mut self,
        span: &Span<'_>,
        group: &Group,
        limits: &Limits,
    ) -> Result<Parent, Reason> {
        let trace_id: TraceId = span.trace_id.required("trace id")?;
        let span_id: SpanId = span.span_id.required("span id")?;
        let parent_span_id: Option<SpanId> = span.parent_span_id.optional("parent span id")?;
        let name = filled("name", &span.name)?;
        let kind = named("kind", span.kind, &KINDS)?;
        let status_code = named("status code", span.status_code, &STATUS_CODES)?;
        let started_at = event_time("started_at", span.started_ns, limits)?;
        let ended_at = ended_at(span, started_at, limits)?;

        self.times.add(started_at);
        self.trace_id.push(trace_id.as_str());
        self.span_id.push(span_id.as_str());
        self.parent_span_id.push_or_null(parent_span_id.as_ref().map_or("", SpanId::as_str));
        self.trace_state.push_or_null(&span.trace_state);
        self.service_name.push_or_null(&group.service_name);
        self.name.push(name);
        self.kind.push(kind);
        self.started_at.push(started_at);
        self.ended_at.push(ended_at);
        self.duration_ns.push(ended_at - started_at);
        self.status_code.push(status_code);
        self.status_message.push_or_null(&span.status_message);
        self.scope_name.push_or_null(&group.scope_name);
        self.scope_version.push_or_null(&group.scope_version);
        self.attributes.close();
        self.resource_attributes.push(&group.attributes);
        Ok(Parent { trace_id, span_id, started_at })
    }

    pub(in crate::telemetry) fn discard(&mut self) {
        self.attributes.discard();
    }

    pub(in crate::telemetry) fn rows(&self) -> usize {
        self.started_at.rows()
    }

    pub(in crate::telemetry) fn times(&self) -> Range {
        self.times
    }

    /// Bytes held, roughly.
    #[inline]
    pub(in crate::telemetry) fn size(&self) -> usize {
        // The ids, the three numbers and the short words make about 128 bytes a row.
        128 * self.rows()
            + self.attributes.size()
            + self.resource_attributes.size()
            + self.name.size()
            + self.trace_state.size()
            + self.status_message.size()
            + self.service_name.size()
            + self.scope_name.size()
            + self.scope_version.size()
    }

    pub(in crate::telemetry) fn finish(&mut self) -> Option<Batch> {
        let columns = vec![
            self.trace_id.finish(),
            self.span_id.finish(),
            self.parent_span_id.finish(),
            self.trace_state.finish(),
            self.service_name.finish(),
            self.name.finish(),
            self.kind.finish(),
            self.started_at.finish(),
            self.ended_at.finish(),
            self.duration_ns.finish(),
            self.status_code.finish(),
            self.status_message.finish(),
            self.scope_name.finish(),
            self.scope_version.finish(),
            self.attributes.finish(),
            self.resource_attributes.finish(),
        ];
        super::batch(Table::Spans, columns, std::mem::take(&mut self.times).get())
    }
}

/// The end of a span, within the limits as its start, which it does not lie before.
#[inline]
fn ended_at(span: &Span<'_>, started_at: i64, limits: &Limits) -> Result<i64, Reason> {
    let ended_at = event_time("ended_at", span.ended_ns, limits)?;
    if ended_at < started_at {
        return Err(format!(
            "ends {} before it starts (started_at {}, ended_at {})",
            Nanoseconds(started_at.abs_diff(ended_at)),
            Moment(started_at),
            Moment(ended_at)
        ));
    }
    Ok(ended_at)
}

/// One row a link.
#[derive(Default)]
pub(in crate::telemetry) struct SpanLinks {
    trace_id: Text,
    span_id: Text,
    linked_trace_id: Text,
    linked_span_id: Text,
    service_name: Text,
    started_at: Times,
    pub(in crate::telemetry) attributes: Map,
    times: Range,
}

impl SpanLinks {
    pub(in crate::telemetry) fn push(
        &mut self,
        link: &Link<'_>,
        parent: &Parent,
        group: &Group,
    ) -> Result<(), Reason> {
        let linked_trace_id: TraceId = link.trace_id.required("linked trace id")?;
        let linked_span_id: SpanId = link.span_id.required("linked span id")?;

        self.times.add(parent.started_at);
        self.trace_id.push(parent.trace_id.as_str());
        self.span_id.push(parent.span_id.as_str());
        self.linked_trace_id.push(linked_trace_id.as_str());
        self.linked_span_id.push(linked_span_id.as_str());
        self.service_name.push_or_null(&group.service_name);
        self.started_at.push(parent.started_at);
        self.attributes.close();
        Ok(())
    }

    pub(in crate::telemetry) fn discard(&mut self) {
        self.attributes.discard();
    }

    pub(in crate::telemetry) fn rows(&self) -> usize {
        self.started_at.rows()
    }

    pub(in crate::telemetry) fn times(&self) -> Range {
        self.times
    }

    pub(in crate::telemetry) fn size(&self) -> usize {
        128 * self.rows() + self.attributes.size() + self.service_name.size()
    }

    pub(in crate::telemetry) fn finish(&mut self) -> Option<Batch> {
        let columns = vec![
            self.trace_id.finish(),
            self.span_id.finish(),
            self.linked_trace_id.finish(),
            self.linked_span_id.finish(),
            self.service_name.finish(),
            self.started_at.finish(),
            self.attributes.finish(),
        ];
        super::batch(Table::SpanLinks, columns, std::mem::take(&mut self.times).get())
    }
}

/// One row an event.
#[derive(Default)]
pub(in crate::telemetry) struct SpanEvents {
    trace_id: Text,
    span_id: Text,
    service_name: Text,
    name: Text,
    ts: Times,
    pub(in crate::telemetry) attributes: Map,
    times: Range,
}

impl SpanEvents {
    pub(in crate::telemetry) fn push(
        &mut self,
        event: &Event<'_>,
        parent: &Parent,
        group: &Group,
        limits: &Limits,
    ) -> Result<(), Reason> {
        let name = filled("name", &event.name)?;
        let ts = event_time("ts", event.ts_ns, limits)?;

        self.times.add(ts);
        self.trace_id.push(parent.trace_id.as_str());
        self.span_id.push(parent.span_id.as_str());
        self.service_name.push_or_null(&group.service_name);
        self.name.push(name);
        self.ts.push(ts);
        self.attributes.close();
        Ok(())
    }

    pub(in crate::telemetry) fn discard(&mut self) {
        self.attributes.discard();
    }

    pub(in crate::telemetry) fn rows(&self) -> usize {
        self.ts.rows()
    }

    pub(in crate::telemetry) fn times(&self) -> Range {
        self.times
    }

    pub(in crate::telemetry) fn size(&self) -> usize {
        64 * self.rows() + self.attributes.size() + self.service_name.size() + self.name.size()
    }

    pub(in crate::telemetry) fn finish(&mut self) -> Option<Batch> {
        let columns = vec![
            self.trace_id.finish(),
            self.span_id.finish(),
            self.service_name.finish(),
            self.name.finish(),
            self.ts.finish(),
            self.attributes.finish(),
        ];
        super::batch(Table::SpanEvents, columns, std::mem::take(&mut self.times).get())
    }
}
