//! Rows of streams that are older than they are to be kept.
//!
//! Rows go from the beginning of a stream on, once they are older than its `retention` by the stream clock: from disk in
//! whole files, when all rows of a file are. Views keep what they made of them. With a journal that is safe only where a
//! restart needs them no more: rows are taken out of sight with a checkpoint, which the journal notes, and their files go
//! when the checkpoint is in its place. Without one they are in memory alone, and go at once.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampNanosecondType};

use super::Engine;
use super::stream::Stream;
use crate::delta::updates::Tick;
use crate::history::HistoryFile;
use crate::sql::error::SqlError;

/// Files go one after the other: how many there are, at least, of the rows that are kept.
const SPANS: u64 = 8;

/// Batches without a history that are looked at in a tick.
const LOOKED_AT_MAX: usize = 64;

impl Engine {
    /// Keeps rows of the stream `name` for `retention_ms` milliseconds of stream time, counted from its first timestamp;
    /// `None`: for ever. Closes a tick.
    ///
    /// # Errors
    ///
    /// Where it is no stream, or its rows have no time.
    pub(super) fn set_retention(&mut self, name: &str, retention_ms: Option<u64>) -> Result<(), SqlError> {
        let refused = |expected: &str| SqlError::Option {
            name: "retention".to_owned(),
            value: retention_ms.map_or("none".to_owned(), |ms| format!("{ms} ms")),
            expected: format!("\"{name}\" has none: {expected}"),
        };
        let is_table = self.tables.contains_key(name);
        let Some(stream) = self.streams.get_mut(name) else {
            if is_table {
                return Err(refused(
                    "only streams and tables WITH (append_only = true) let old rows go; DELETE takes rows of others away",
                ));
            }
            return Err(SqlError::Missing { kind: "table", name: name.to_owned(), hint: String::new() });
        };
        if retention_ms.is_some() && time_column(&stream.schema).is_none() {
            return Err(refused("a column of type timestamptz or timestamp says how old rows are"));
        }
        stream.retention_ms = retention_ms;
        self.close(self.closed + 1)?;
        Ok(())
    }

    /// The streams whose first rows are old enough to go, each with the number of the first that stays.
    pub(super) fn outdated(&self) -> Vec<(String, u64)> {
        let Some(passed) = self.rows_passed() else { return vec![] };
        // A view that was filled a short time ago, from what is kept, is to be filled once more.
        let from = self.replayed_from();
        let is_filling = |name: &str| {
            let filled = self.filled_at.iter().filter(|(_, tick)| **tick >= from);
            filled
                .filter_map(|(view, _)| self.views.get(view))
                .any(|view| view.plan.relations().contains(&name))
        };
        let is_free = |name: &str| self.holders(name).next().is_none() && !is_filling(name);
        let streams = self.streams.iter().filter(|(name, _)| is_free(name));
        let outdated = streams.filter_map(|(name, stream)| {
            let first = stream.outdated(self.closed, *passed.get(name)?)?;
            Some((name.clone(), first))
        });
        outdated.collect()
    }

    /// The views that need all rows that the stream `name` ever had.
    pub(super) fn holders(&self, name: &str) -> impl Iterator<Item = &str> {
        let without = self.checkpoints.iter().flat_map(|checkpoints| checkpoints.without.keys());
        without.map(String::as_str).filter(move |view| {
            self.views.get(*view).is_some_and(|view| view.plan.relations().contains(&name))
        })
    }

    /// The names of these views, where the stream has a retention.
    pub(super) fn held_by(&self, name: &str) -> Option<String> {
        self.streams.get(name)?.retention_ms?;
        let holders: Vec<&str> = self.holders(name).collect();
        (!holders.is_empty()).then(|| holders.join(", "))
    }

    /// Takes the rows of the stream `name` that come before number `first` out of sight.
    pub(super) fn trim(&mut self, name: &str, first: u64) {
        if let Some(stream) = self.streams.get_mut(name) {
            stream.trim(first);
        }
    }

    /// Lets go of the files whose rows are out of sight: a checkpoint is in its place that knows no others.
    pub(super) fn let_go_of_trimmed(&mut self) {
        let kept = self.streams.values_mut().filter_map(|stream| stream.history.as_mut());
        kept.for_each(|kept| kept.is_trimmed_for_good = !kept.trimmed.is_empty());
    }

    /// Lets rows go that are in memory alone.
    pub(super) fn forget_outdated(&mut self) {
        let closed = self.closed;
        self.streams
            .values_mut()
            .filter(|stream| stream.history.is_none())
            .for_each(|stream| stream.forget(closed));
    }
}

impl Stream {
    /// The number of the first row that is kept.
    pub fn first_kept(&self) -> u64 {
        self.history.as_ref().map_or(0, |kept| kept.first)
    }

    /// The column by which rows grow old, and how much time the rows of a file may be apart when it is joined with
    /// others, in nanoseconds.
    pub fn span_max(&self) -> Option<(String, i64)> {
        let (retention_ms, column) = (self.retention_ms?, time_column(&self.schema)?);
        let span_ns = (retention_ms / SPANS) as i64 * 1_000_000;
        Some((self.schema.field(column).name().clone(), span_ns))
    }

    /// The tick before which rows are to go, when the clock shows `now`.
    fn oldest(&self, now: Tick) -> Option<Tick> {
        now.checked_sub(self.retention_ms?)
    }

    /// The number of the first row that stays at `now`, where those before it are old enough to go and are among the first
    /// `passed`.
    fn outdated(&self, now: Tick, passed: u64) -> Option<u64> {
        let (oldest, kept) = (self.oldest(now)?, self.history.as_ref()?);
        // What is written now may take the place of files that would go.
        if kept.is_dropped || kept.writing > 0 {
            return None;
        }
        let column = self.schema.field(time_column(&self.schema)?).name();
        let is_old = |file: &&Arc<HistoryFile>| {
            if file.rows().end > passed {
                return false;
            }
            let times = file.times_ns(column).unwrap_or_else(|error| {
                tracing::warn!(%error, "rows stay though they are to go");
                None
            });
            times.is_some_and(|(_, last)| last < oldest as i64 * 1_000_000)
        };
        kept.files.iter().take_while(is_old).last().map(|file| file.rows().end)
    }

    /// Takes the rows before number `first` out of sight.
    fn trim(&mut self, first: u64) {
        if let Some(kept) = self.history.as_mut().filter(|kept| kept.first < first) {
            kept.trim(first);
            self.drop_before(first);
        }
    }

    /// Lets rows in memory go that are old at `now`.
    fn forget(&mut self, now: Tick) {
        let (Some(oldest), Some(column)) = (self.oldest(now), time_column(&self.schema)) else { return };
        let mut old = 0;
        for rows in self.stored.iter().take(LOOKED_AT_MAX) {
            let first = first_since(rows.column(column), oldest as i64 * 1_000_000);
            old += first.unwrap_or(rows.num_rows());
            if first.is_some() {
                break;
            }
        }
        if old > 0 {
            self.outdated_rows += old as u64;
            self.drop_before(self.first_stored() + old as u64);
        }
    }
}

/// The column by which rows of a stream grow old: its first timestamp.
fn time_column(schema: &SchemaRef) -> Option<usize> {
    schema.fields().iter().position(|field| matches!(field.data_type(), DataType::Timestamp(..)))
}

/// The place of the first of some timestamps that is not before `at_ns`, in nanoseconds since 1970 UTC.
fn first_since(times: &ArrayRef, at_ns: i64) -> Option<usize> {
    let times = cast(times, &DataType::Timestamp(TimeUnit::Nanosecond, None)).ok()?;
    times
        .as_primitive::<TimestampNanosecondType>()
        .iter()
        .position(|time| time.is_some_and(|time| time >= at_ns))
}
