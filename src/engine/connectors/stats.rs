//! The tables `source_stats`, `source_partition_stats` and `sink_stats`: how sources and sinks do.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tokio::sync::watch;

use super::{Condition, Connectors, DefinedSource, Switch};
use crate::sql::catalog::{Contents, Kind, Relation};
use crate::sql::error::SqlError;

/// The system table of the sources.
pub(in crate::engine) const SOURCE_STATS: &str = "source_stats";

/// The system table of their partitions.
const SOURCE_PARTITION_STATS: &str = "source_partition_stats";

/// The system table of the sinks.
pub(in crate::engine) const SINK_STATS: &str = "sink_stats";

/// Columns and the rows under them.
type Rows = fn(&Connectors) -> Vec<(&'static str, Column)>;

enum Column {
    Text(Vec<Option<String>>),
    Number(Vec<Option<i64>>),
    Time(Vec<Option<i64>>),
}

impl Column {
    fn array(self) -> ArrayRef {
        match self {
            Column::Text(values) => Arc::new(StringArray::from(values)),
            Column::Number(values) => Arc::new(Int64Array::from(values)),
            Column::Time(values) => Arc::new(TimestampMillisecondArray::from(values).with_timezone("+00:00")),
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Column::Text(_) => DataType::Utf8,
            Column::Number(_) => DataType::Int64,
            Column::Time(_) => DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into())),
        }
    }
}

/// A table that is made when it is read.
struct Table {
    connectors: watch::Receiver<Connectors>,
    rows: Rows,
    schema: SchemaRef,
}

impl Contents for Table {
    fn read(&self) -> Result<Vec<RecordBatch>, SqlError> {
        let columns = (self.rows)(&self.connectors.borrow());
        let columns = columns.into_iter().map(|(_, column)| column.array()).collect();
        Ok(vec![RecordBatch::try_new(self.schema.clone(), columns)?])
    }
}

/// The system tables, by name.
pub(in crate::engine) fn relations(
    connectors: &watch::Receiver<Connectors>,
) -> Vec<(&'static str, Relation)> {
    let tables: [(&str, Rows); 3] =
        [(SOURCE_STATS, sources), (SOURCE_PARTITION_STATS, partitions), (SINK_STATS, sinks)];
    let relation = |(name, rows): (&'static str, Rows)| {
        let columns = rows(&Connectors::default());
        let field = |(place, (name, column)): (usize, &(&str, Column))| {
            Field::new(*name, column.data_type(), place > 0)
        };
        let schema = Arc::new(Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>()));
        let table = Table { connectors: connectors.clone(), rows, schema: schema.clone() };
        (name, Relation { schema, kind: Kind::System(Arc::new(table)) })
    };
    tables.into_iter().map(relation).collect()
}

/// What a source or a sink does, in a word, and why.
fn condition(switch: &Switch) -> (String, Option<String>) {
    let (word, reason) = match switch.activity.condition() {
        _ if switch.run().is_none() => ("paused", None),
        Condition::Starting => ("starting", None),
        Condition::Running => ("running", None),
        Condition::Retrying(reason) => ("retrying", Some(reason)),
        Condition::Failed(reason) => ("failed", Some(reason)),
    };
    (word.to_owned(), reason)
}

/// Per source: how many messages it has taken in since the start, and how many there are that it has not.
fn sources(connectors: &Connectors) -> Vec<(&'static str, Column)> {
    let all: Vec<(&String, &Arc<DefinedSource>)> = connectors.sources.iter().collect();
    let text = |of: &dyn Fn(&DefinedSource) -> Option<String>| {
        Column::Text(all.iter().map(|(_, s)| of(s)).collect())
    };
    let count = |at: usize| {
        Column::Number(all.iter().map(|(_, s)| Some(s.switch.activity.counts()[at] as i64)).collect())
    };
    vec![
        ("source", Column::Text(all.iter().map(|(name, _)| Some((*name).clone())).collect())),
        ("topic", text(&|s| s.definition.options.get("topic").map(str::to_owned))),
        ("format", text(&|s| Some(s.definition.format.name().to_owned()))),
        ("state", text(&|s| Some(condition(&s.switch).0))),
        ("error", text(&|s| condition(&s.switch).1)),
        ("messages", count(0)),
        ("bytes", count(1)),
        ("batches", count(2)),
        ("failures", count(3)),
        ("lag_messages", Column::Number(all.iter().map(|(_, s)| lag(s)).collect())),
    ]
}

/// The messages that are there and were not taken in, as far as it is known.
fn lag(source: &DefinedSource) -> Option<i64> {
    let positions = source.positions();
    let behind =
        |(partition, end): (i32, i64)| (end - positions.get(&partition).copied().unwrap_or(0)).max(0);
    source.switch.activity.ends().into_iter().map(behind).reduce(|a, b| a + b)
}

/// Per partition of a source: the offset of the first message that was not taken in, and that behind the last there is.
fn partitions(connectors: &Connectors) -> Vec<(&'static str, Column)> {
    let (mut names, mut topics, mut numbers, mut at, mut ends, mut lags) =
        (vec![], vec![], vec![], vec![], vec![], vec![]);
    for (name, source) in &connectors.sources {
        let (positions, known) = (source.positions(), source.switch.activity.ends());
        let mut all: Vec<i32> = positions.keys().chain(known.keys()).copied().collect();
        all.sort_unstable();
        all.dedup();
        for partition in all {
            let position = positions.get(&partition).copied();
            let end = known.get(&partition).copied();
            names.push(Some(name.clone()));
            topics.push(source.definition.options.get("topic").map(str::to_owned));
            numbers.push(Some(i64::from(partition)));
            at.push(position);
            ends.push(end);
            lags.push(end.map(|end| (end - position.unwrap_or(0)).max(0)));
        }
    }
    vec![
        ("source", Column::Text(names)),
        ("topic", Column::Text(topics)),
        ("partition", Column::Number(numbers)),
        ("position", Column::Number(at)),
        ("end_position", Column::Number(ends)),
        ("lag_messages", Column::Number(lags)),
    ]
}

/// Per sink: up to which tick it has delivered, and what waits.
fn sinks(connectors: &Connectors) -> Vec<(&'static str, Column)> {
    let all: Vec<_> = connectors.sinks.iter().map(|(name, s)| (name, s, s.outbox.progress())).collect();
    let count = |at: usize| {
        Column::Number(all.iter().map(|(_, s, _)| Some(s.switch.activity.counts()[at] as i64)).collect())
    };
    let texts = |values: Vec<Option<String>>| Column::Text(values);
    vec![
        ("sink", texts(all.iter().map(|(name, ..)| Some((*name).clone())).collect())),
        ("relation", texts(all.iter().map(|(_, s, _)| Some(s.definition.relation.clone())).collect())),
        ("target", texts(all.iter().map(|(_, s, _)| Some(s.definition.target.name().to_owned())).collect())),
        (
            "envelope",
            texts(all.iter().map(|(_, s, _)| Some(s.definition.envelope.name().to_owned())).collect()),
        ),
        ("state", texts(all.iter().map(|(_, s, _)| Some(condition(&s.switch).0)).collect())),
        ("error", texts(all.iter().map(|(_, s, p)| p.error.clone().or(condition(&s.switch).1)).collect())),
        ("delivered_at", Column::Time(all.iter().map(|(.., p)| Some(p.delivered as i64)).collect())),
        ("waiting_ticks", Column::Number(all.iter().map(|(.., p)| Some(p.waiting_ticks as i64)).collect())),
        ("waiting_rows", Column::Number(all.iter().map(|(.., p)| Some(p.waiting_rows as i64)).collect())),
        ("messages", count(0)),
        ("bytes", count(1)),
        ("batches", count(2)),
        ("failures", count(3)),
    ]
}
