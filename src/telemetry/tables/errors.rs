//! `ingest_errors` under construction.

use crate::telemetry::columns::{Text, Times};
use crate::telemetry::{Batch, Origin, Table};

use super::Range;

/// One row for each thing rejected.
#[derive(Default)]
pub(in crate::telemetry) struct IngestErrors {
    received_at: Times,
    source: Text,
    kind: Text,
    reason: Text,
    sample: Text,
    times: Range,
}

impl IngestErrors {
    /// `sample` is cut to `sample_bytes_max` and what is not UTF-8 in it is replaced.
    pub(in crate::telemetry) fn push(
        &mut self,
        received_at_ns: i64,
        origin: &Origin,
        kind: &str,
        reason: &str,
        sample: &[u8],
        sample_bytes_max: usize,
    ) {
        use std::fmt::Write;
        self.times.add(received_at_ns);
        self.received_at.push(received_at_ns);
        let written = write!(self.source.open(), "{origin}");
        debug_assert!(written.is_ok(), "writing to a string does not fail");
        self.source.close(true);
        self.kind.push(kind);
        self.reason.push(reason);
        self.sample.push(&shown(sample, sample_bytes_max));
    }

    pub(in crate::telemetry) fn rows(&self) -> usize {
        self.received_at.rows()
    }

    pub(in crate::telemetry) fn size(&self) -> usize {
        self.source.size() + self.kind.size() + self.reason.size() + self.sample.size() + 8 * self.rows()
    }

    pub(in crate::telemetry) fn finish(&mut self) -> Option<Batch> {
        let columns = vec![
            self.received_at.finish(),
            self.source.finish(),
            self.kind.finish(),
            self.reason.finish(),
            self.sample.finish(),
        ];
        super::batch(Table::IngestErrors, columns, std::mem::take(&mut self.times).get())
    }
}

/// The first bytes of a sample as text. A character that the cut divides is left out.
fn shown(sample: &[u8], bytes_max: usize) -> String {
    let cut = &sample[..sample.len().min(bytes_max)];
    match std::str::from_utf8(cut) {
        Err(error) if error.error_len().is_none() && cut.len() < sample.len() => {
            String::from_utf8_lossy(&cut[..error.valid_up_to()]).into_owned()
        }
        _ => String::from_utf8_lossy(cut).into_owned(),
    }
}
