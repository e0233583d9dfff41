//! Log records of JSON.

use crate::telemetry::Decoder;
use crate::telemetry::record::{Id, Log};
use crate::telemetry::text::Place;

use super::reader::Fault;
use super::{Walk, value};

impl<'a> Walk<'a, '_> {
    /// One log record.
    pub(super) fn log(&mut self) -> Result<(), Fault> {
        if self.decoder.group.rejects() {
            return self.reader.skip();
        }
        self.decoder.logs.discard();
        let start = self.reader.place();
        let mut log = Log::default();
        let mut has_body = false;
        let pushed = match self.log_fields(&mut log, &mut has_body) {
            Ok(()) => self.decoder.push_log(&log, has_body),
            Err(Fault::Record(reason)) => Err(reason),
            Err(syntax) => return Err(syntax),
        };
        match pushed {
            Err(reason) => self.reject("log", &format!("log record: {reason}"), start),
            Ok(()) => Ok(()),
        }
    }

    fn log_fields(&mut self, log: &mut Log<'a>, has_body: &mut bool) -> Result<(), Fault> {
        let mut first = true;
        self.reader.object("log record")?;
        while let Some(key) = self.reader.field(&mut first)? {
            let reader = &mut self.reader;
            let Decoder { logs, limits, .. } = &mut *self.decoder;
            match key.as_ref() {
                "timeUnixNano" => log.ts_ns = reader.integer("timeUnixNano")?,
                "observedTimeUnixNano" => log.observed_ns = reader.integer("observedTimeUnixNano")?,
                "severityNumber" => log.severity_number = reader.enumeration("severityNumber")?,
                "severityText" => log.severity_text = reader.string("severityText")?,
                "body" => *has_body = value::any_value(reader, logs.body.open(), Place::Alone, 0, limits)?,
                "attributes" => value::attributes(reader, &mut logs.attributes, limits)?,
                "traceId" => log.trace_id = Id::Hex(reader.string("traceId")?),
                "spanId" => log.span_id = Id::Hex(reader.string("spanId")?),
                "eventName" => log.event_name = reader.string("eventName")?,
                _ => reader.skip()?,
            }
        }
        Ok(())
    }
}
