//! Log records of protobuf. The numbers are those of `opentelemetry/proto/logs/v1`.

use crate::telemetry::Decoder;
use crate::telemetry::record::{Id, Log, Reason};
use crate::telemetry::text::Place;

use super::wire::Fields;
use super::{Walk, value};

impl Walk<'_> {
    /// One log record.
    pub(super) fn log(&mut self, message: &[u8]) {
        if self.decoder.group.rejects() {
            return;
        }
        let mut log = Log::default();
        let mut has_body = false;
        let pushed = match self.log_fields(message, &mut log, &mut has_body) {
            Ok(()) => self.decoder.push_log(&log, has_body),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = pushed {
            self.reject("log", &format!("log record: {reason}"), message);
        }
    }

    fn log_fields<'a>(
        &mut self,
        message: &'a [u8],
        log: &mut Log<'a>,
        has_body: &mut bool,
    ) -> Result<(), Reason> {
        let Decoder { logs, limits, .. } = &mut *self.decoder;
        logs.discard();
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => log.ts_ns = value.fixed64("ts")?.into(),
                2 => log.severity_number = value.int32("severity number")?,
                3 => log.severity_text = value.text("severity text")?.into(),
                5 => *has_body = value::any_value(value, logs.body.open(), Place::Alone, 0, limits)?,
                6 => value::attribute(value, &mut logs.attributes, limits)?,
                9 => log.trace_id = Id::Bytes(value.bytes("trace id")?),
                10 => log.span_id = Id::Bytes(value.bytes("span id")?),
                11 => log.observed_ns = value.fixed64("observed_at")?.into(),
                12 => log.event_name = value.text("event name")?.into(),
                _ => {}
            }
        }
        Ok(())
    }
}
