//! The tables under construction: each checks a record and, when nothing is wrong with it, appends its row.
//!
//! Lists and maps of a record are written to the open rows of the table's public columns before `push`, which closes
//! them. When `push` finds the record wrong it leaves all columns as they were but for the open rows; `discard` drops
//! those, and every record begins with it.

mod errors;
mod logs;
mod metrics;
mod spans;

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;

use super::columns::Map;
use super::{Batch, Table};

pub(super) use errors::IngestErrors;
pub(super) use logs::Logs;
pub(super) use metrics::Metrics;
pub(super) use spans::{Parent, SpanEvents, SpanLinks, Spans};

/// What all records of a resource and scope share.
#[derive(Default)]
pub(super) struct Group {
    /// Attributes of the resource, in the open row.
    pub(super) attributes: Map,
    /// Empty when there is none.
    pub(super) service_name: String,
    pub(super) scope_name: String,
    pub(super) scope_version: String,
    /// What is wrong with the resource, scope or metric, and takes all its records with it.
    pub(super) fault: Option<GroupFault>,
}

/// A fault above the records.
pub(super) struct GroupFault {
    pub(super) kind: &'static str,
    pub(super) reason: String,
    pub(super) sample: Vec<u8>,
    /// Records rejected for it so far.
    pub(super) records: u64,
}

impl Group {
    /// For the next resource.
    pub(super) fn clear(&mut self) {
        self.attributes.discard();
        self.service_name.clear();
        self.clear_scope();
        self.fault = None;
    }

    /// For the next scope of the same resource.
    pub(super) fn clear_scope(&mut self) {
        self.scope_name.clear();
        self.scope_version.clear();
    }

    /// Takes the service's name from the attributes of the resource.
    pub(super) fn name_service(&mut self) {
        let Group { attributes, service_name, .. } = self;
        service_name.clear();
        let row = (0..attributes.keys.rows()).find(|&row| attributes.keys.get(row) == Some("service.name"));
        service_name.push_str(row.and_then(|row| attributes.values.get(row)).unwrap_or_default());
    }

    /// Whether the next record is to be rejected for what is wrong above it; counts it if so.
    #[inline]
    pub(super) fn rejects(&mut self) -> bool {
        match &mut self.fault {
            None => false,
            Some(fault) => {
                fault.records += 1;
                true
            }
        }
    }
}

/// The least and the greatest of some event times.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Range(Option<(i64, i64)>);

impl Range {
    #[inline]
    pub(super) fn add(&mut self, time_ns: i64) {
        self.0 = Some(match self.0 {
            None => (time_ns, time_ns),
            Some((least, greatest)) => (least.min(time_ns), greatest.max(time_ns)),
        });
    }

    pub(super) fn get(self) -> Option<(i64, i64)> {
        self.0
    }
}

/// The rows of a table, if there are any.
fn batch(table: Table, columns: Vec<ArrayRef>, event_time_ns: Option<(i64, i64)>) -> Option<Batch> {
    if columns.first().is_none_or(|column| column.is_empty()) {
        return None;
    }
    let rows = RecordBatch::try_new(table.schema(), columns);
    // No input can make the columns disagree with the schema: they are the same in number, type and length always.
    Some(Batch { table, rows: rows.expect("columns match the schema"), event_time_ns })
}
