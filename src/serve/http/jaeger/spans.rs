//! Spans, their events and links, as Jaeger writes them.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::{Array, AsArray, MapArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::datatypes::{ArrowPrimitiveType, Int64Type, TimestampNanosecondType};
use serde_json::{Map, Value, json};

use crate::sql::error::SqlError;

/// The columns that [`Traces::add_spans`] reads.
pub(super) const SPAN_COLUMNS: &str = "
    trace_id, span_id, parent_span_id, service_name, name, kind, started_at, duration_ns, status_code,
    status_message, scope_name, scope_version, attributes, resource_attributes";

/// The columns that [`Traces::add_events`] reads.
pub(super) const EVENT_COLUMNS: &str = "trace_id, span_id, name, ts, attributes";

/// The columns that [`Traces::add_links`] reads.
pub(super) const LINK_COLUMNS: &str = "trace_id, span_id, linked_trace_id, linked_span_id";

/// Traces being put together, by id.
#[derive(Default)]
pub(super) struct Traces {
    traces: BTreeMap<String, Trace>,
}

#[derive(Default)]
struct Trace {
    spans: Vec<Map<String, Value>>,
    /// The number of each span in `spans`, by id.
    numbers: HashMap<String, usize>,
    /// Processes by what they are: the name of the service and the tags, as text.
    processes: BTreeMap<String, (usize, Value)>,
    /// Events and links that were added already: what was exported twice is told once.
    seen: HashSet<String>,
}

impl Traces {
    /// Adds spans, each once.
    pub fn add_spans(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        let columns = Columns(batch);
        let texts = |name| columns.texts(name);
        let (trace_ids, span_ids, parents) =
            (texts("trace_id")?, texts("span_id")?, texts("parent_span_id")?);
        let (services, names, kinds) = (texts("service_name")?, texts("name")?, texts("kind")?);
        let (statuses, messages) = (texts("status_code")?, texts("status_message")?);
        let (scopes, versions) = (texts("scope_name")?, texts("scope_version")?);
        let started = columns.numbers::<TimestampNanosecondType>("started_at")?;
        let durations = columns.numbers::<Int64Type>("duration_ns")?;
        let (attributes, resources) = (columns.map("attributes")?, columns.map("resource_attributes")?);
        for row in 0..batch.num_rows() {
            let (trace_id, span_id) = (trace_ids.value(row), span_ids.value(row));
            let trace = self.traces.entry(trace_id.to_owned()).or_default();
            if trace.numbers.contains_key(span_id) {
                continue;
            }
            let mut tags = tags(attributes, row);
            if kinds.value(row) != "UNSPECIFIED" {
                tags.push(tag("span.kind", kinds.value(row).to_lowercase()));
            }
            if statuses.value(row) != "UNSET" {
                tags.push(tag("otel.status_code", statuses.value(row).to_owned()));
            }
            if statuses.value(row) == "ERROR" {
                tags.push(json!({ "key": "error", "type": "bool", "value": true }));
            }
            let more = [
                ("otel.status_description", messages),
                ("otel.scope.name", scopes),
                ("otel.scope.version", versions),
            ];
            let more = more.iter().filter(|(_, column)| column.is_valid(row));
            tags.extend(more.map(|(key, column)| tag(key, column.value(row).to_owned())));
            let references: Vec<Value> = match parents.is_valid(row) {
                true => vec![reference("CHILD_OF", trace_id, parents.value(row))],
                false => vec![],
            };
            let service = if services.is_valid(row) { services.value(row) } else { "unknown_service" };
            let process_id = trace.process(service, resource_tags(resources, row));
            let span = json!({
                "traceID": trace_id,
                "spanID": span_id,
                "flags": 1,
                "operationName": names.value(row),
                "references": references,
                "startTime": started.value(row) / 1_000,
                "duration": durations.value(row) / 1_000,
                "tags": tags,
                "logs": [],
                "processID": process_id,
                "warnings": null,
            });
            let Value::Object(span) = span else { continue };
            trace.numbers.insert(span_id.to_owned(), trace.spans.len());
            trace.spans.push(span);
        }
        Ok(())
    }

    /// Adds events to the spans that are there.
    pub fn add_events(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        let columns = Columns(batch);
        let (trace_ids, span_ids) = (columns.texts("trace_id")?, columns.texts("span_id")?);
        let (names, attributes) = (columns.texts("name")?, columns.map("attributes")?);
        let times = columns.numbers::<TimestampNanosecondType>("ts")?;
        for row in 0..batch.num_rows() {
            let mut fields = vec![tag("event", names.value(row).to_owned())];
            fields.extend(tags(attributes, row));
            let log = json!({ "timestamp": times.value(row) / 1_000, "fields": fields });
            self.append(trace_ids.value(row), span_ids.value(row), "logs", log);
        }
        Ok(())
    }

    /// Adds links to the spans that are there.
    pub fn add_links(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        let columns = Columns(batch);
        let (trace_ids, span_ids) = (columns.texts("trace_id")?, columns.texts("span_id")?);
        let linked = (columns.texts("linked_trace_id")?, columns.texts("linked_span_id")?);
        for row in 0..batch.num_rows() {
            let link = reference("FOLLOWS_FROM", linked.0.value(row), linked.1.value(row));
            self.append(trace_ids.value(row), span_ids.value(row), "references", link);
        }
        Ok(())
    }

    fn append(&mut self, trace_id: &str, span_id: &str, member: &str, value: Value) {
        let Some(trace) = self.traces.get_mut(trace_id) else { return };
        let Some(number) = trace.numbers.get(span_id) else { return };
        if trace.seen.insert(format!("{span_id}{value}"))
            && let Some(list) = trace.spans[*number].get_mut(member).and_then(Value::as_array_mut)
        {
            list.push(value);
        }
    }

    /// Spans that are there.
    pub fn span_count(&self) -> usize {
        self.traces.values().map(|trace| trace.spans.len()).sum()
    }

    /// The traces, the latest first, as Jaeger writes them; `warning` is told of each.
    pub fn finish(self, warning: Option<&str>) -> Vec<Value> {
        let begin = |trace: &Trace| trace.spans.iter().filter_map(|s| s["startTime"].as_i64()).min();
        let mut traces: Vec<_> = self.traces.into_iter().collect();
        traces.sort_by_key(|(_, trace)| std::cmp::Reverse(begin(trace)));
        traces.into_iter().map(|(id, trace)| trace.finish(&id, warning)).collect()
    }
}

impl Trace {
    /// The name of a process within the trace.
    fn process(&mut self, service: &str, tags: Vec<Value>) -> String {
        let process = json!({ "serviceName": service, "tags": tags });
        let next = self.processes.len() + 1;
        let (number, _) = self.processes.entry(process.to_string()).or_insert((next, process));
        format!("p{number}")
    }

    fn finish(self, id: &str, warning: Option<&str>) -> Value {
        let processes = self.processes.into_values();
        let processes: Map<String, Value> = processes.map(|(number, p)| (format!("p{number}"), p)).collect();
        let warnings = warning.map(|warning| vec![warning]);
        json!({ "traceID": id, "spans": self.spans, "processes": processes, "warnings": warnings })
    }
}

fn reference(kind: &str, trace_id: &str, span_id: &str) -> Value {
    json!({ "refType": kind, "traceID": trace_id, "spanID": span_id })
}

/// Attributes are text: what they were before is not kept.
fn tag(key: &str, value: String) -> Value {
    json!({ "key": key, "type": "string", "value": value })
}

fn tags(map: &MapArray, row: usize) -> Vec<Value> {
    let entries = map.value(row);
    let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
    let text = |i: usize| if values.is_valid(i) { values.value(i) } else { "" };
    (0..entries.len()).map(|i| tag(keys.value(i), text(i).to_owned())).collect()
}

/// The attributes of a resource but for the name of the service, which Jaeger keeps apart.
fn resource_tags(map: &MapArray, row: usize) -> Vec<Value> {
    tags(map, row).into_iter().filter(|tag| tag["key"] != "service.name").collect()
}

/// Columns by name and type.
struct Columns<'a>(&'a RecordBatch);

impl<'a> Columns<'a> {
    fn column(&self, name: &str) -> Result<&'a dyn Array, SqlError> {
        let column = self.0.column_by_name(name).map(|column| column.as_ref());
        column.ok_or_else(|| SqlError::Engine(format!("column \"{name}\" is not there")))
    }

    fn texts(&self, name: &str) -> Result<&'a StringArray, SqlError> {
        self.column(name)?.as_string_opt().ok_or_else(|| wrong_type(name))
    }

    fn numbers<T: ArrowPrimitiveType>(&self, name: &str) -> Result<&'a PrimitiveArray<T>, SqlError> {
        self.column(name)?.as_primitive_opt().ok_or_else(|| wrong_type(name))
    }

    fn map(&self, name: &str) -> Result<&'a MapArray, SqlError> {
        self.column(name)?.as_map_opt().ok_or_else(|| wrong_type(name))
    }
}

fn wrong_type(name: &str) -> SqlError {
    SqlError::Engine(format!("column \"{name}\" has another type than it should"))
}
