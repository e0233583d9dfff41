//! Spans of JSON, with their links and events.

use crate::telemetry::Decoder;
use crate::telemetry::record::{Event, Id, Link, Span};
use crate::telemetry::tables::Parent;

use super::reader::{Fault, Reader};
use super::{Walk, value};

#[inline]
fn id<'a>(reader: &mut Reader<'a>, what: &str) -> Result<Id<'a>, Fault> {
    reader.string(what).map(Id::Hex)
}

/// Where the arrays within a span are, which are read when the span is accepted.
#[derive(Default)]
struct Parts {
    links: Option<usize>,
    events: Option<usize>,
}

impl<'a> Walk<'a, '_> {
    /// One span.
    pub(super) fn span(&mut self) -> Result<(), Fault> {
        if self.decoder.group.rejects() {
            return self.reader.skip();
        }
        self.decoder.spans.discard();
        let start = self.reader.place();
        let mut span = Span::default();
        let mut parts = Parts::default();
        let pushed = match self.span_fields(&mut span, &mut parts) {
            Ok(()) => self.decoder.push_span(&span),
            Err(Fault::Record(reason)) => Err(reason),
            Err(syntax) => return Err(syntax),
        };
        match pushed {
            Err(reason) => self.reject("span", &format!("{}: {reason}", span.label()), start),
            Ok(parent) => {
                self.resume(parts.links, |walk| walk.each("span_link", "links", |walk| walk.link(&parent)))?;
                self.resume(parts.events, |walk| {
                    walk.each("span_event", "events", |walk| walk.event(&parent))
                })
            }
        }
    }

    fn span_fields(&mut self, span: &mut Span<'a>, parts: &mut Parts) -> Result<(), Fault> {
        let mut first = true;
        self.reader.object("span")?;
        while let Some(key) = self.reader.field(&mut first)? {
            let reader = &mut self.reader;
            match key.as_ref() {
                "traceId" => span.trace_id = id(reader, "traceId")?,
                "spanId" => span.span_id = id(reader, "spanId")?,
                "parentSpanId" => span.parent_span_id = id(reader, "parentSpanId")?,
                "traceState" => span.trace_state = reader.string("traceState")?,
                "name" => span.name = reader.string("name")?,
                "kind" => span.kind = reader.enumeration("kind")?,
                "startTimeUnixNano" => span.started_ns = reader.integer("startTimeUnixNano")?,
                "endTimeUnixNano" => span.ended_ns = reader.integer("endTimeUnixNano")?,
                "status" => status(reader, span)?,
                "attributes" => {
                    let Decoder { spans, limits, .. } = &mut *self.decoder;
                    value::attributes(reader, &mut spans.attributes, limits)?;
                }
                "links" => parts.links = Some(self.postpone()?),
                "events" => parts.events = Some(self.postpone()?),
                _ => reader.skip()?,
            }
        }
        Ok(())
    }

    fn link(&mut self, parent: &Parent) -> Result<(), Fault> {
        self.decoder.span_links.discard();
        let start = self.reader.place();
        let mut link = Link::default();
        let pushed = match self.link_fields(&mut link) {
            Ok(()) => self.decoder.push_link(&link, parent),
            Err(Fault::Record(reason)) => Err(reason),
            Err(syntax) => return Err(syntax),
        };
        match pushed {
            Err(reason) => self.reject("span_link", &format!("{}: {reason}", parent.label("link")), start),
            Ok(()) => Ok(()),
        }
    }

    fn link_fields(&mut self, link: &mut Link<'a>) -> Result<(), Fault> {
        let mut first = true;
        self.reader.object("link")?;
        while let Some(key) = self.reader.field(&mut first)? {
            let reader = &mut self.reader;
            match key.as_ref() {
                "traceId" => link.trace_id = id(reader, "traceId")?,
                "spanId" => link.span_id = id(reader, "spanId")?,
                "attributes" => {
                    let Decoder { span_links, limits, .. } = &mut *self.decoder;
                    value::attributes(reader, &mut span_links.attributes, limits)?;
                }
                _ => reader.skip()?,
            }
        }
        Ok(())
    }

    fn event(&mut self, parent: &Parent) -> Result<(), Fault> {
        self.decoder.span_events.discard();
        let start = self.reader.place();
        let mut event = Event::default();
        let pushed = match self.event_fields(&mut event) {
            Ok(()) => self.decoder.push_event(&event, parent),
            Err(Fault::Record(reason)) => Err(reason),
            Err(syntax) => return Err(syntax),
        };
        match pushed {
            Err(reason) => self.reject("span_event", &format!("{}: {reason}", parent.label("event")), start),
            Ok(()) => Ok(()),
        }
    }

    fn event_fields(&mut self, event: &mut Event<'a>) -> Result<(), Fault> {
        let mut first = true;
        self.reader.object("event")?;
        while let Some(key) = self.reader.field(&mut first)? {
            let reader = &mut self.reader;
            match key.as_ref() {
                "name" => event.name = reader.string("name")?,
                "timeUnixNano" => event.ts_ns = reader.integer("timeUnixNano")?,
                "attributes" => {
                    let Decoder { span_events, limits, .. } = &mut *self.decoder;
                    value::attributes(reader, &mut span_events.attributes, limits)?;
                }
                _ => reader.skip()?,
            }
        }
        Ok(())
    }
}

fn status<'a>(reader: &mut Reader<'a>, span: &mut Span<'a>) -> Result<(), Fault> {
    let mut first = true;
    reader.object("status")?;
    while let Some(key) = reader.field(&mut first)? {
        match key.as_ref() {
            "code" => span.status_code = reader.enumeration("status code")?,
            "message" => span.status_message = reader.string("status message")?,
            _ => reader.skip()?,
        }
    }
    Ok(())
}
