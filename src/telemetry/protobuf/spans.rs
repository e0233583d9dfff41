//! Spans of protobuf, with their links and events. The numbers are those of `opentelemetry/proto/trace/v1`.

use crate::telemetry::Decoder;
use crate::telemetry::record::{Event, Id, Link, Reason, Span};
use crate::telemetry::tables::Parent;

use super::wire::{Fields, Value};
use super::{Walk, value};

const SPAN_EVENTS: u32 = 11;
const SPAN_LINKS: u32 = 13;

impl Walk<'_> {
    /// One span.
    pub(super) fn span(&mut self, message: &[u8]) {
        if self.decoder.group.rejects() {
            return;
        }
        let mut span = Span::default();
        let mut parts = 0;
        let pushed = match self.span_fields(message, &mut span, &mut parts) {
            Ok(()) => self.decoder.push_span(&span),
            Err(reason) => Err(reason),
        };
        match pushed {
            Err(reason) => self.reject("span", &format!("{}: {reason}", span.label()), message),
            Ok(parent) if parts > 0 => self.parts(message, &parent),
            Ok(_) => {}
        }
    }

    /// Reads all but the links and events, which it counts.
    fn span_fields<'a>(
        &mut self,
        message: &'a [u8],
        span: &mut Span<'a>,
        parts: &mut usize,
    ) -> Result<(), Reason> {
        let Decoder { spans, limits, .. } = &mut *self.decoder;
        spans.discard();
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => span.trace_id = Id::Bytes(value.bytes("trace id")?),
                2 => span.span_id = Id::Bytes(value.bytes("span id")?),
                3 => span.trace_state = value.text("trace state")?.into(),
                4 => span.parent_span_id = Id::Bytes(value.bytes("parent span id")?),
                5 => span.name = value.text("name")?.into(),
                6 => span.kind = value.int32("kind")?,
                7 => span.started_ns = value.fixed64("started_at")?.into(),
                8 => span.ended_ns = value.fixed64("ended_at")?.into(),
                9 => value::attribute(value, &mut spans.attributes, limits)?,
                15 => status(value, span)?,
                SPAN_EVENTS | SPAN_LINKS => *parts += 1,
                _ => {}
            }
        }
        Ok(())
    }

    /// The links, then the events, of a span that was accepted and so can be read to its end.
    fn parts(&mut self, message: &[u8], parent: &Parent) {
        for part in [SPAN_LINKS, SPAN_EVENTS] {
            let mut fields = Fields::new(message);
            while let Ok(Some((number, value))) = fields.next() {
                match number {
                    SPAN_LINKS if number == part => self.link(value, parent),
                    SPAN_EVENTS if number == part => self.event(value, parent),
                    _ => {}
                }
            }
        }
    }

    fn link(&mut self, value: Value<'_>, parent: &Parent) {
        let mut link = Link::default();
        let read = self.link_fields(value, &mut link);
        if let Err(reason) = read.and_then(|()| self.decoder.push_link(&link, parent)) {
            let sample = value.bytes("").unwrap_or_default();
            self.reject("span_link", &format!("{}: {reason}", parent.label("link")), sample);
        }
    }

    fn link_fields<'a>(&mut self, value: Value<'a>, link: &mut Link<'a>) -> Result<(), Reason> {
        let Decoder { span_links, limits, .. } = &mut *self.decoder;
        span_links.discard();
        let mut fields = value.message("link")?;
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => link.trace_id = Id::Bytes(value.bytes("trace id")?),
                2 => link.span_id = Id::Bytes(value.bytes("span id")?),
                4 => value::attribute(value, &mut span_links.attributes, limits)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn event(&mut self, value: Value<'_>, parent: &Parent) {
        let mut event = Event::default();
        let read = self.event_fields(value, &mut event);
        if let Err(reason) = read.and_then(|()| self.decoder.push_event(&event, parent)) {
            let sample = value.bytes("").unwrap_or_default();
            self.reject("span_event", &format!("{}: {reason}", parent.label("event")), sample);
        }
    }

    fn event_fields<'a>(&mut self, value: Value<'a>, event: &mut Event<'a>) -> Result<(), Reason> {
        let Decoder { span_events, limits, .. } = &mut *self.decoder;
        span_events.discard();
        let mut fields = value.message("event")?;
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => event.ts_ns = value.fixed64("ts")?.into(),
                2 => event.name = value.text("name")?.into(),
                3 => value::attribute(value, &mut span_events.attributes, limits)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn status<'a>(value: Value<'a>, span: &mut Span<'a>) -> Result<(), Reason> {
    let mut fields = value.message("status")?;
    while let Some((number, value)) = fields.next()? {
        match number {
            2 => span.status_message = value.text("status message")?.into(),
            3 => span.status_code = value.int32("status code")?,
            _ => {}
        }
    }
    Ok(())
}
