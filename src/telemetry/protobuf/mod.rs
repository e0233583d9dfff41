//! OTLP in protobuf: the walk from a request down to its records, over the wire format, without copies.
//!
//! Protobuf does not order fields either, but passing over a message costs nothing: what must be known first is
//! looked for first, in a pass of its own.
//!
//! Every message says how long it is, so damage within one record harms only that. A request that was cut off says to
//! be longer than it is, at every level; the walk goes down into what is there, and the innermost record cut is the
//! one reported.

mod logs;
mod metrics;
mod sniff;
mod spans;
mod value;
mod wire;

use super::record::Reason;
use super::{Decoder, Origin, Signal};
use wire::{Fields, Value};

pub use sniff::sniff;

/// Decodes one request; see [`Decoder::protobuf`].
pub(super) fn decode(decoder: &mut Decoder, signal: Signal, request: &[u8], origin: &Origin) {
    let mut walk = Walk { decoder, origin, damaged: false };
    walk.each(request, 1, |walk, resource, _| walk.resource(signal, resource));
}

/// The walk through one request.
struct Walk<'d> {
    decoder: &'d mut Decoder,
    origin: &'d Origin,
    /// Whether the end of the request was reported as cut off.
    damaged: bool,
}

impl Walk<'_> {
    /// Calls `read` with every message of a repeated field, and whether bytes at its end are missing.
    fn each<'a>(&mut self, message: &'a [u8], field: u32, mut read: impl FnMut(&mut Self, &'a [u8], bool)) {
        let mut fields = Fields::new(message);
        loop {
            let (number, value) = match fields.next_or_cut() {
                Ok(Some(field)) => field,
                Ok(None) => return,
                Err(reason) => {
                    self.damaged = true;
                    return self.reject("request", &format!("not protobuf: {reason}"), message);
                }
            };
            match value.bytes("message") {
                Ok(inner) => {
                    let is_cut = fields.missing() > 0;
                    if number == field {
                        read(self, inner, is_cut);
                    }
                    if is_cut {
                        self.report_cut(inner, fields.missing());
                    }
                }
                Err(reason) if number == field => self.reject("request", &reason, message),
                Err(_) => {}
            }
        }
    }

    /// Reports, once for a request, that it ends too early.
    fn report_cut(&mut self, message: &[u8], missing: u64) {
        if !self.damaged {
            self.damaged = true;
            self.reject(
                "request",
                &format!("request is cut off, {missing} bytes of a message in it are missing"),
                message,
            );
        }
    }

    /// The message in a field, the last of them, as far as the outer message can be read.
    fn find(message: &[u8], field: u32) -> Option<&[u8]> {
        let mut fields = Fields::new(message);
        let mut found = None;
        while let Ok(Some((number, value))) = fields.next() {
            if let (true, Value::Bytes(inner)) = (number == field, value) {
                found = Some(inner);
            }
        }
        found
    }

    /// A `ResourceSpans`, `ResourceMetrics` or `ResourceLogs`.
    fn resource(&mut self, signal: Signal, message: &[u8]) {
        self.decoder.group.clear();
        if let Some(resource) = Walk::find(message, 1)
            && let Err(reason) = self.resource_itself(resource)
        {
            self.decoder.note_fault("resource", "resource", reason, resource);
        }
        self.each(message, 2, |walk, scope, _| walk.scope(signal, scope));
        self.decoder.end_group("resource", self.origin);
    }

    fn resource_itself(&mut self, resource: &[u8]) -> Result<(), Reason> {
        let Decoder { group, limits, .. } = &mut *self.decoder;
        let mut fields = Fields::new(resource);
        while let Some((number, value)) = fields.next()? {
            if number == 1 {
                value::attribute(value, &mut group.attributes, limits)?;
            }
        }
        group.name_service();
        Ok(())
    }

    /// A `ScopeSpans`, `ScopeMetrics` or `ScopeLogs`.
    fn scope(&mut self, signal: Signal, message: &[u8]) {
        self.decoder.group.clear_scope();
        if let Some(scope) = Walk::find(message, 1)
            && let Err(reason) = self.scope_itself(scope)
        {
            self.decoder.note_fault("scope", "scope", reason, scope);
        }
        self.each(message, 2, |walk, record, is_cut| match signal {
            // `each` reports it. What is left of a record may well read as a whole one.
            _ if is_cut => {}
            Signal::Traces => walk.span(record),
            Signal::Metrics => walk.metric(record),
            Signal::Logs => walk.log(record),
        });
        self.decoder.end_group("scope", self.origin);
    }

    fn scope_itself(&mut self, scope: &[u8]) -> Result<(), Reason> {
        let group = &mut self.decoder.group;
        let mut fields = Fields::new(scope);
        while let Some((number, value)) = fields.next()? {
            let (text, what) = match number {
                1 => (&mut group.scope_name, "name of the scope"),
                2 => (&mut group.scope_version, "version of the scope"),
                _ => continue,
            };
            text.clear();
            text.push_str(value.text(what)?);
        }
        Ok(())
    }

    fn reject(&mut self, kind: &str, reason: &str, sample: &[u8]) {
        self.decoder.reject(self.origin, kind, reason, sample);
    }
}
