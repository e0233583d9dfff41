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
use super::registry::Registry;
use super::supervisor::Stop;
use crate::sql::connector::Options;

/// The most schemas that are kept; the registry is asked again for others.
const SCHEMAS_KEPT_MAX: usize = 256;

/// How long it is kept that there is no schema of a number, or none to read by.
const NO_SCHEMA_KEPT: Duration = Duration::from_secs(10);

/// How messages of a schema are read, or why they cannot be.
type Found = Result<Arc<Layout>, Arc<AvroError>>;

/// Reads messages as rows of a table.
pub(super) struct AvroReader {
    registry: Registry,
    columns: SchemaRef,
    kept: Mutex<HashMap<u32, (Instant, Found)>>,
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

    /// The rows of `messages`; `refuse` is told the place of each that is none, and why.
    ///
    /// # Errors
    ///
    /// Where the registry does not answer: nothing is told of any message then.
    pub fn rows(
        &self,
        messages: &[&[u8]],
        mut refuse: impl FnMut(usize, &AvroError),
    ) -> Result<Vec<RecordBatch>, ConnectError> {
        let (mut by_schema, mut unframed) = (BTreeMap::<u32, Vec<usize>>::new(), vec![]);
        for (place, message) in messages.iter().enumerate() {
            match schema_id(message) {
                Ok(id) => by_schema.entry(id).or_default().push(place),
                Err(error) => unframed.push((place, error)),
            }
        }
        let mut layouts = vec![];
        for (id, places) in by_schema {
            layouts.push((self.layout(id)?, places));
        }
        unframed.iter().for_each(|(place, error)| refuse(*place, error));
        let mut batches = vec![];
        for (layout, places) in layouts {
            match layout {
                Ok(layout) => read(&layout, messages, &places, &mut refuse, &mut batches),
                Err(error) => places.iter().for_each(|place| refuse(*place, &error)),
            }
        }
        Ok(batches)
    }

    /// How messages of the schema `id` are read.
    fn layout(&self, id: u32) -> Result<Found, ConnectError> {
        if let Some((at, found)) = self.kept().get(&id)
            && (found.is_ok() || at.elapsed() < NO_SCHEMA_KEPT)
        {
            return Ok(found.clone());
        }
        let found = match self.registry.schema(id)? {
            Ok(definition) => Layout::new(id, &definition, &self.columns)
                .map(Arc::new)
                .map_err(|reason| Arc::new(AvroError::Schema { id, reason })),
            Err(reason) => Err(Arc::new(AvroError::NoSchema { id, reason })),
        };
        let mut kept = self.kept();
        if kept.len() >= SCHEMAS_KEPT_MAX
            && let Some(oldest) = kept.iter().min_by_key(|(_, (at, _))| *at).map(|(id, _)| *id)
        {
            kept.remove(&oldest);
        }
        kept.insert(id, (Instant::now(), found.clone()));
        Ok(found)
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<u32, (Instant, Found)>> {
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
