//! Messages in Avro, in the wire format of Confluent: a zero byte, the id of a schema in four bytes, the highest first, and a
//! record of that schema.
//!
//! A record is a row: fields are columns by their names, as the members of JSON objects are. Fields that the table does not
//! have are passed over, columns that the schema does not have are null, and what does not fit makes the message one that
//! cannot be read. Messages of many schemas may be in one topic.

mod convert;
mod encode;
mod error;
mod layout;
mod schema;
mod size;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::runtime::Handle;

pub(super) use self::encode::AvroWriter;
use self::error::AvroError;
use self::layout::{Layout, schema_id};
use super::ConnectError;
use super::registry::{NoSchema, Registry, Waiting};
use super::supervisor::Stop;
use crate::sql::connector::Options;

/// The most schemas that are kept; the registry is asked again for others.
const SCHEMAS_KEPT_MAX: usize = 256;

/// The most bytes of them.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// How long it is kept that there is no schema to read by.
const NO_SCHEMA_KEPT: Duration = Duration::from_secs(10);

/// How long it is kept that a schema is not there, which may follow.
const ABSENT_KEPT: Duration = Duration::from_secs(1);

/// How long a schema has to be not there until that is believed: those who answer may follow another, which has it already.
const ABSENT_MIN: Duration = Duration::from_secs(2);

/// How long it is known that it was.
const ABSENT_KNOWN: Duration = Duration::from_secs(60);

/// How long it is waited for, until it is looked again.
const PAUSE: Duration = Duration::from_millis(250);

/// How messages of a schema are read, or why they cannot be.
type Found = Result<Arc<Layout>, Arc<AvroError>>;

/// What was found of the schema of a number.
#[derive(Clone)]
struct Kept {
    /// When.
    at: Instant,
    /// Since when it is not there, where it is not.
    since: Instant,
    found: Found,
}

impl Kept {
    fn is_absent(&self) -> bool {
        let absent =
            |error: &AvroError| matches!(error, AvroError::NoSchema { reason: NoSchema::Absent(_), .. });
        self.found.as_ref().is_err_and(|error| absent(error))
    }

    fn is_known(&self) -> bool {
        let kept = if self.is_absent() { ABSENT_KEPT } else { NO_SCHEMA_KEPT };
        self.found.is_ok() || self.at.elapsed() < kept
    }

    fn bytes(&self) -> usize {
        self.found.as_ref().map_or(0, |layout| layout.bytes)
    }

    /// `None` for one that may follow, where `is_awaited`.
    fn found(&self, is_awaited: bool) -> Option<Found> {
        let may_follow = is_awaited && self.is_absent() && self.since.elapsed() < ABSENT_MIN;
        (!may_follow).then(|| self.found.clone())
    }
}

/// Reads messages as rows of a table.
pub(super) struct AvroReader {
    registry: Registry,
    columns: SchemaRef,
    kept: Mutex<HashMap<u32, Kept>>,
}

impl AvroReader {
    /// For a table with `columns`, with the schema registry that `options` say.
    pub fn new(
        options: &Options,
        columns: SchemaRef,
        handle: &Handle,
        stop: &Stop,
    ) -> Result<Self, ConnectError> {
        let registry = Registry::of(options, handle, stop)?;
        Ok(AvroReader { registry, columns, kept: Mutex::default() })
    }

    /// The rows of `messages`; `refuse` is told the place of each that is none, and why, and `waiting` that the registry is
    /// waited for.
    ///
    /// # Errors
    ///
    /// Where the registry does not answer: what was told of messages is void then.
    pub fn rows(
        &self,
        messages: &[&[u8]],
        waiting: Waiting<'_>,
        mut refuse: impl FnMut(usize, &AvroError),
    ) -> Result<Vec<RecordBatch>, ConnectError> {
        let mut rest = BTreeMap::<u32, Vec<usize>>::new();
        for (place, message) in messages.iter().enumerate() {
            match schema_id(message) {
                Ok(id) => rest.entry(id).or_default().push(place),
                Err(error) => refuse(place, &error),
            }
        }
        let (mut batches, begun) = (vec![], Instant::now());
        loop {
            // Of more than are kept it is not known since when they are not there.
            let (mut absent, is_awaited) = (BTreeMap::new(), begun.elapsed() < 2 * ABSENT_MIN);
            for (id, places) in rest {
                match self.layout(id, is_awaited, waiting)? {
                    Some(Ok(layout)) => read(&layout, messages, &places, &mut refuse, &mut batches),
                    Some(Err(error)) => places.iter().for_each(|place| refuse(*place, &error)),
                    None => drop(absent.insert(id, places)),
                }
            }
            if absent.is_empty() {
                return Ok(batches);
            }
            // All of them at once, so that many take no longer than one.
            rest = absent;
            waiting()?;
            self.registry.pause(PAUSE)?;
        }
    }

    /// How messages of the schema `id` are read; `None` for one that is not there and may follow, where that `is_awaited`.
    fn layout(&self, id: u32, is_awaited: bool, waiting: Waiting<'_>) -> Result<Option<Found>, ConnectError> {
        let known = self.kept().get(&id).cloned();
        if let Some(known) = known.as_ref().filter(|known| known.is_known()) {
            return Ok(known.found(is_awaited));
        }
        let found = match self.registry.schema(id, waiting)? {
            Ok(definition) => Layout::new(id, &definition, &self.columns)
                .map(Arc::new)
                .map_err(|reason| Arc::new(AvroError::Schema { id, reason })),
            Err(reason) => Err(Arc::new(AvroError::NoSchema { id, reason })),
        };
        let at = Instant::now();
        let before = known.filter(|known| known.is_absent() && known.at.elapsed() < ABSENT_KNOWN);
        let kept = Kept { at, since: before.map_or(at, |known| known.since), found };
        let found = kept.found(is_awaited);
        self.keep(id, kept);
        Ok(found)
    }

    fn keep(&self, id: u32, new: Kept) {
        let mut kept = self.kept();
        kept.remove(&id);
        while kept.len() >= SCHEMAS_KEPT_MAX
            || kept.values().map(Kept::bytes).sum::<usize>() + new.bytes() > KEPT_BYTES_MAX
        {
            let Some(oldest) = kept.iter().min_by_key(|(_, kept)| kept.at).map(|(id, _)| *id) else { break };
            kept.remove(&oldest);
        }
        kept.insert(id, new);
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<u32, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the messages at `places`: all at once, or, where that fails, each half of them, to know which it was.
fn read(
    layout: &Layout,
    messages: &[&[u8]],
    places: &[usize],
    refuse: &mut impl FnMut(usize, &AvroError),
    batches: &mut Vec<RecordBatch>,
) {
    let payloads: Vec<&[u8]> = places.iter().map(|place| messages[*place]).collect();
    match (layout.rows(&payloads), places) {
        (Ok(rows), _) => batches.push(rows),
        (Err(error), [place]) => refuse(*place, &error),
        (Err(_), places) => {
            let (first, second) = places.split_at(places.len() / 2);
            read(layout, messages, first, refuse, batches);
            read(layout, messages, second, refuse, batches);
        }
    }
}
