//! OTLP in JSON: the walk from a request down to its records, in one pass.
//!
//! JSON does not order the fields of an object. What must be known first (a resource before its spans, a span before
//! its events) comes first as a rule; where it does not, the reader passes over the latter and returns to it.
//!
//! A value of the wrong type is a fault of the record it is in: the reader returns to the record's start, passes over
//! it and goes on. Only text that is not JSON ends the request.

mod logs;
mod metrics;
mod reader;
mod scan;
mod spans;
mod value;

use super::record::Reason;
use super::{Decoder, Origin, Signal};
use reader::{Fault, Reader};

/// Decodes one request; see [`Decoder::json`].
pub(super) fn decode(decoder: &mut Decoder, request: &[u8], origin: &Origin) {
    let mut walk = Walk { reader: Reader::new(request), decoder, origin };
    let read = walk.request();
    let (place, reason) = match read {
        Ok(()) => return,
        Err(Fault::Record(reason)) => (0, reason),
        Err(Fault::Syntax { at, expected }) => (at, not_json(request, at, expected)),
    };
    // The sample shows what is around the place, since a long line says little by its start.
    let before = decoder.limits.sample_bytes_max / 2;
    decoder.reject(origin, "request", &reason, &request[place.saturating_sub(before)..]);
}

/// Says where text stops being JSON: lines and columns count from 1, columns in bytes.
fn not_json(request: &[u8], at: usize, expected: &str) -> Reason {
    let before = &request[..at];
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    let column = 1 + before.iter().rev().take_while(|&&byte| byte != b'\n').count();
    let found = match request.get(at) {
        None => "the end of the text".to_owned(),
        Some(byte) => format!("{:?}", char::from(*byte)),
    };
    format!("not JSON at line {line} column {column}: {expected} expected, {found} found")
}

/// The walk through one request.
struct Walk<'a, 'd> {
    reader: Reader<'a>,
    decoder: &'d mut Decoder,
    origin: &'d Origin,
}

/// What the levels of a request are called for one signal.
struct Names {
    resources: &'static str,
    scopes: &'static str,
    records: &'static str,
}

const TRACES: Names = Names { resources: "resourceSpans", scopes: "scopeSpans", records: "spans" };
const METRICS: Names = Names { resources: "resourceMetrics", scopes: "scopeMetrics", records: "metrics" };
const LOGS: Names = Names { resources: "resourceLogs", scopes: "scopeLogs", records: "logRecords" };

impl Signal {
    fn names(self) -> &'static Names {
        match self {
            Signal::Traces => &TRACES,
            Signal::Metrics => &METRICS,
            Signal::Logs => &LOGS,
        }
    }
}

impl<'a> Walk<'a, '_> {
    fn request(&mut self) -> Result<(), Fault> {
        self.reader.object("request")?;
        let (mut first, mut fields, mut signals) = (true, 0, 0);
        while let Some(key) = self.reader.field(&mut first)? {
            fields += 1;
            let Some(signal) = Signal::ALL.into_iter().find(|signal| signal.names().resources == key) else {
                self.reader.skip()?;
                continue;
            };
            signals += 1;
            self.each("request", signal.names().resources, |walk| walk.resource(signal))?;
        }
        self.reader.end()?;
        if fields > 0 && signals == 0 {
            let reason = "request has none of resourceSpans, resourceMetrics and resourceLogs at its top";
            return Err(Fault::Record(reason.to_owned()));
        }
        Ok(())
    }

    /// Reads every element of the array here by `read`, each by itself.
    fn each(
        &mut self,
        kind: &str,
        what: &str,
        mut read: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.alone(kind, |walk| {
            walk.reader.array(what)?;
            let mut first = true;
            while walk.reader.item(&mut first)? {
                walk.alone(kind, &mut read)?;
            }
            Ok(())
        })
    }

    /// Reads the value here by `read`; if that finds it wrong, rejects it as one of `kind` and passes over it.
    #[inline]
    fn alone(&mut self, kind: &str, read: impl FnOnce(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        let start = self.reader.place();
        match read(self) {
            Err(Fault::Record(reason)) => self.reject(kind, &reason, start),
            read => read,
        }
    }

    /// Rejects the value that starts at `start` and passes over it.
    #[cold]
    fn reject(&mut self, kind: &str, reason: &str, start: usize) -> Result<(), Fault> {
        self.reader.rewind(start);
        self.reader.skip()?;
        self.decoder.reject(self.origin, kind, reason, self.reader.since(start));
        Ok(())
    }

    /// Reads the value here by `read`; if that finds it wrong, all records of the `kind` of thing it describes are
    /// rejected, and it is passed over.
    fn describing(
        &mut self,
        kind: &'static str,
        read: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let start = self.reader.place();
        match read(self) {
            Err(Fault::Record(reason)) => {
                self.reader.rewind(start);
                self.reader.skip()?;
                self.decoder.note_fault(kind, kind, reason, self.reader.since(start));
                Ok(())
            }
            read => read,
        }
    }

    /// Passes over the value here and returns its place.
    fn postpone(&mut self) -> Result<usize, Fault> {
        // What `skip` stops at is the first character of the value, or white space before it.
        let place = self.reader.place();
        self.reader.skip()?;
        Ok(place)
    }

    /// Returns to a value that was postponed, reads it and comes back.
    fn resume(
        &mut self,
        place: Option<usize>,
        read: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let Some(place) = place else { return Ok(()) };
        let here = self.reader.place();
        self.reader.rewind(place);
        read(self)?;
        self.reader.rewind(here);
        Ok(())
    }

    /// A `ResourceSpans`, `ResourceMetrics` or `ResourceLogs`.
    fn resource(&mut self, signal: Signal) -> Result<(), Fault> {
        self.decoder.group.clear();
        let read = self.resource_fields(signal);
        self.decoder.end_group("resource", self.origin);
        read
    }

    fn resource_fields(&mut self, signal: Signal) -> Result<(), Fault> {
        let names = signal.names();
        let (mut seen, mut postponed, mut first) = (false, None, true);
        self.reader.object(names.resources)?;
        while let Some(key) = self.reader.field(&mut first)? {
            match key.as_ref() {
                "resource" => {
                    seen = true;
                    self.describing("resource", Walk::resource_itself)?;
                }
                key if key == names.scopes && seen => self.scopes(signal)?,
                key if key == names.scopes => postponed = Some(self.postpone()?),
                _ => self.reader.skip()?,
            }
        }
        self.resume(postponed, |walk| walk.scopes(signal))
    }

    fn resource_itself(&mut self) -> Result<(), Fault> {
        let mut first = true;
        self.reader.object("resource")?;
        while let Some(key) = self.reader.field(&mut first)? {
            match key.as_ref() {
                "attributes" => {
                    let Decoder { group, limits, .. } = &mut *self.decoder;
                    value::attributes(&mut self.reader, &mut group.attributes, limits)?;
                    group.name_service();
                }
                _ => self.reader.skip()?,
            }
        }
        Ok(())
    }

    fn scopes(&mut self, signal: Signal) -> Result<(), Fault> {
        self.each("request", signal.names().scopes, |walk| walk.scope(signal))
    }

    /// A `ScopeSpans`, `ScopeMetrics` or `ScopeLogs`.
    fn scope(&mut self, signal: Signal) -> Result<(), Fault> {
        self.decoder.group.clear_scope();
        let read = self.scope_fields(signal);
        self.decoder.end_group("scope", self.origin);
        read
    }

    fn scope_fields(&mut self, signal: Signal) -> Result<(), Fault> {
        let names = signal.names();
        let (mut seen, mut postponed, mut first) = (false, None, true);
        self.reader.object(names.scopes)?;
        while let Some(key) = self.reader.field(&mut first)? {
            match key.as_ref() {
                "scope" => {
                    seen = true;
                    self.describing("scope", Walk::scope_itself)?;
                }
                key if key == names.records && seen => self.records(signal)?,
                key if key == names.records => postponed = Some(self.postpone()?),
                _ => self.reader.skip()?,
            }
        }
        self.resume(postponed, |walk| walk.records(signal))
    }

    fn scope_itself(&mut self) -> Result<(), Fault> {
        let mut first = true;
        self.reader.object("scope")?;
        while let Some(key) = self.reader.field(&mut first)? {
            let text = match key.as_ref() {
                "name" => &mut self.decoder.group.scope_name,
                "version" => &mut self.decoder.group.scope_version,
                _ => {
                    self.reader.skip()?;
                    continue;
                }
            };
            text.clear();
            self.reader.string_into(&key, text)?;
        }
        Ok(())
    }

    fn records(&mut self, signal: Signal) -> Result<(), Fault> {
        let what = signal.names().records;
        match signal {
            Signal::Traces => self.each("span", what, Walk::span),
            Signal::Metrics => self.each("metric", what, Walk::metric),
            Signal::Logs => self.each("log", what, Walk::log),
        }
    }
}
