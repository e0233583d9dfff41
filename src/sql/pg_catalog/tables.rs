//! The schema `pg_catalog`: the tables of `datafusion-pg-catalog`, told what our relations are.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, RecordBatch, StringArray, new_null_array,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int16Type, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion_pg_catalog::pg_catalog::{PgCatalogSchemaProvider, PgCatalogTable};
use futures::StreamExt;

use super::keys;
use super::listing::{Listed, Listing, Owner, Shown};
use super::{Client, DATABASE, SCHEMA};

/// The table that `pg_get_viewdef` is rewritten to read.
pub(super) const VIEW_DEFINITIONS: &str = "pg_view_definitions";

/// The column of `pg_attribute` that is ours: the default of the column, as text.
pub(super) const DEFAULT_COLUMN: &str = "attdefault";

/// The OID of the type `json`.
const JSON_OID: i32 = 114;

/// `pg_catalog` as one client sees it.
pub(super) struct PgSchema {
    tables: Arc<PgCatalogSchemaProvider<Shown, Owner>>,
    listing: Arc<Listing>,
    client: Arc<Client>,
}

impl PgSchema {
    pub fn new(
        tables: Arc<PgCatalogSchemaProvider<Shown, Owner>>,
        listing: Arc<Listing>,
        client: Arc<Client>,
    ) -> Self {
        PgSchema { tables, listing, client }
    }

    /// The rows of `name`, changed by `patch`.
    fn patched(
        &self,
        name: &str,
        patch: impl Fn(RecordBatch, &Listing) -> DataFusionResult<RecordBatch> + Send + Sync + 'static,
    ) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        let Some(PgCatalogTable::Dynamic(inner)) = self.tables.build_table_by_name(name)? else {
            return Ok(None);
        };
        let patch: Arc<Patch> = Arc::new(patch);
        let schema = patch(RecordBatch::new_empty(inner.schema().clone()), &self.listing)?.schema();
        let patched = Patched { inner, patch, schema: schema.clone(), listing: self.listing.clone() };
        Ok(Some(Arc::new(StreamingTable::try_new(schema, vec![Arc::new(patched)])?)))
    }

    /// The rows that `make` makes of those of `pg_class`, in the columns of the crate's table `name`.
    async fn made(&self, name: &str, make: Make) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        let Some(table) = self.tables.table(name).await? else { return Ok(None) };
        let schema = table.schema();
        self.patched("pg_class", move |classes, listing| make(&classes, listing, &schema))
    }
}

impl fmt::Debug for PgSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgSchema").finish_non_exhaustive()
    }
}

#[async_trait]
impl SchemaProvider for PgSchema {
    fn table_names(&self) -> Vec<String> {
        self.tables.table_names()
    }

    async fn table(&self, name: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        match name {
            "pg_class" => self.patched(name, with_kinds),
            VIEW_DEFINITIONS => self.patched("pg_class", definitions),
            "pg_database" => self.patched(name, the_database),
            "pg_attribute" => self.patched(name, attributes),
            "pg_attrdef" => self.made(name, keys::defaults).await,
            "pg_index" => self.made(name, keys::indexes).await,
            "pg_constraint" => self.made(name, keys::constraints).await,
            "pg_tables" => self.patched(name, only_tables),
            "pg_views" => views(&self.listing, 'v').map(Some),
            "pg_matviews" => views(&self.listing, 'm').map(Some),
            "pg_settings" => settings(&self.client).map(Some),
            _ => self.tables.table(name).await,
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        name == VIEW_DEFINITIONS || self.tables.table_exist(name)
    }
}

type Patch = dyn Fn(RecordBatch, &Listing) -> DataFusionResult<RecordBatch> + Send + Sync;

type Make = fn(&RecordBatch, &Listing, &SchemaRef) -> DataFusionResult<RecordBatch>;

/// A table of the crate with some values of ours.
struct Patched {
    inner: Arc<dyn PartitionStream>,
    patch: Arc<Patch>,
    schema: SchemaRef,
    listing: Arc<Listing>,
}

impl fmt::Debug for Patched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PartitionStream for Patched {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (patch, listing) = (self.patch.clone(), self.listing.clone());
        let rows =
            self.inner.execute(context).map(move |batch| batch.and_then(|batch| patch(batch, &listing)));
        Box::pin(RecordBatchStreamAdapter::new(self.schema().clone(), rows))
    }
}

/// `rows` with another column `name`.
fn replace(rows: &RecordBatch, name: &str, column: ArrayRef) -> DataFusionResult<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    columns[rows.schema().index_of(name)?] = column;
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

/// `pg_class` with the kinds of our relations.
fn with_kinds(rows: RecordBatch, listing: &Listing) -> DataFusionResult<RecordBatch> {
    let schema = rows.schema();
    let names = rows.column(schema.index_of("relname")?).as_string::<i32>();
    let kinds = names.iter().map(|name| {
        let listed = name.and_then(|name| listing.get(name));
        listed.map_or("r".to_owned(), |listed| listed.kind.to_string())
    });
    let has_key = |name: &str| {
        let table = listing.get(name).and_then(|listed| listed.table.as_ref());
        table.is_some_and(|table| !table.primary_key.is_empty())
    };
    let have_keys: BooleanArray = names.iter().map(|name| Some(name.is_some_and(has_key))).collect();
    let rows = replace(&rows, "relkind", Arc::new(StringArray::from_iter_values(kinds)))?;
    let rows = replace(&rows, "relhasindex", Arc::new(have_keys))?;
    let mut fields = rows.schema().fields().to_vec();
    let mut columns = rows.columns().to_vec();
    for name in ["relacl", "reloptions"] {
        let texts = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
        columns.push(new_null_array(&texts, rows.num_rows()));
        fields.push(Arc::new(Field::new(name, texts, true)));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// What `pg_get_viewdef` reads: the definition of each view by its OID. Made of `pg_class`.
fn definitions(rows: RecordBatch, listing: &Listing) -> DataFusionResult<RecordBatch> {
    let schema = rows.schema();
    let names = rows.column(schema.index_of("relname")?).as_string::<i32>();
    let texts = names.iter().map(|name| listing.get(name?).and_then(|listed| listed.definition.clone()));
    let fields =
        vec![Field::new("oid", DataType::Int32, false), Field::new("definition", DataType::Utf8, true)];
    let oids = rows.column(schema.index_of("oid")?).clone();
    let columns: Vec<ArrayRef> = vec![oids, Arc::new(StringArray::from_iter(texts))];
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// `pg_database` with the one there is.
fn the_database(rows: RecordBatch, _listing: &Listing) -> DataFusionResult<RecordBatch> {
    let names = rows.column(rows.schema().index_of("datname")?).as_string::<i32>();
    let is_ours: BooleanArray = names.iter().map(|name| Some(name == Some(DATABASE))).collect();
    Ok(filter_record_batch(&rows, &is_ours)?)
}

/// `pg_attribute` with `json` for what is sent as JSON. The rows follow the listing: relation by relation,
/// column by column.
fn with_json(rows: RecordBatch, listing: &Listing) -> DataFusionResult<RecordBatch> {
    let schema = rows.schema();
    let names = rows.column(schema.index_of("attname")?).as_string::<i32>();
    let numbers = rows.column(schema.index_of("attnum")?).as_primitive::<Int16Type>();
    let types = rows.column(schema.index_of("atttypid")?);
    let types = types.as_primitive::<arrow::datatypes::Int32Type>();
    let mut fields = listing.values().flat_map(|listed| listed.schema.fields().iter().enumerate());
    let patched = (0..rows.num_rows()).map(|row| match fields.next() {
        Some((at, field))
            if field.name() == names.value(row)
                && at + 1 == numbers.value(row) as usize
                && is_json(field.data_type()) =>
        {
            JSON_OID
        }
        _ => types.value(row),
    });
    replace(&rows, "atttypid", Arc::new(Int32Array::from_iter_values(patched)))
}

/// `pg_attribute` with `json` for what is sent as JSON, and with what has a default.
fn attributes(rows: RecordBatch, listing: &Listing) -> DataFusionResult<RecordBatch> {
    let rows = with_json(rows, listing)?;
    let of = |listed: &Listed, at: usize| listed.table.as_ref()?.columns[at].default.clone();
    let all =
        listing.values().flat_map(|listed| (0..listed.schema.fields().len()).map(move |at| of(listed, at)));
    let defaults: StringArray = all.chain(std::iter::repeat(None)).take(rows.num_rows()).collect();
    let rows = replace(&rows, "atthasdef", Arc::new(arrow::compute::is_not_null(&defaults)?))?;
    let mut fields = rows.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(DEFAULT_COLUMN, DataType::Utf8, true)));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(defaults));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// `pg_tables` without what is none.
fn only_tables(rows: RecordBatch, listing: &Listing) -> DataFusionResult<RecordBatch> {
    let names = rows.column(rows.schema().index_of("tablename")?).as_string::<i32>();
    let is_table = |name: Option<&str>| listing.get(name?).map(|listed| listed.kind == 'r').or(Some(true));
    let are_tables: BooleanArray = names.iter().map(is_table).collect();
    Ok(filter_record_batch(&rows, &are_tables)?)
}

/// Whether values of this type are sent as JSON.
pub(super) fn is_json(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(..) | DataType::Struct(_) | DataType::Union(..) => true,
        DataType::List(of) | DataType::LargeList(of) => {
            is_json(of.data_type()) || matches!(of.data_type(), DataType::List(_))
        }
        _ => false,
    }
}

/// A table of text columns, and of one that is always false where the name says so.
fn table(columns: Vec<(&str, ArrayRef)>) -> DataFusionResult<Arc<dyn TableProvider>> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let rows = RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, column)| column).collect())?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![rows]])?))
}

fn same(value: Option<&str>, rows: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter(std::iter::repeat_n(value, rows)))
}

/// `pg_views` or `pg_matviews`.
fn views(listing: &Listing, kind: char) -> DataFusionResult<Arc<dyn TableProvider>> {
    let views: Vec<_> = listing.iter().filter(|(_, listed)| listed.kind == kind).collect();
    let count = views.len();
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(views.iter().map(|(name, _)| name)));
    let definitions: ArrayRef =
        Arc::new(StringArray::from_iter(views.iter().map(|(_, listed)| listed.definition.as_deref())));
    let switch = |value: bool| -> ArrayRef { Arc::new(BooleanArray::from(vec![value; count])) };
    let (schema, owner) = (same(Some(SCHEMA), count), same(Some(DATABASE), count));
    match kind {
        'v' => table(vec![
            ("schemaname", schema),
            ("viewname", names),
            ("viewowner", owner),
            ("definition", definitions),
        ]),
        _ => table(vec![
            ("schemaname", schema),
            ("matviewname", names),
            ("matviewowner", owner),
            ("tablespace", same(None, count)),
            ("hasindexes", switch(false)),
            ("ispopulated", switch(true)),
            ("definition", definitions),
        ]),
    }
}

/// `pg_settings`: the settings of the session.
fn settings(client: &Client) -> DataFusionResult<Arc<dyn TableProvider>> {
    let count = client.settings.len();
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(client.settings.keys()));
    let values: ArrayRef = Arc::new(StringArray::from_iter_values(client.settings.values()));
    let mut columns = vec![("name", names), ("setting", values.clone())];
    for name in ["unit", "category", "short_desc", "extra_desc"] {
        columns.push((name, same(None, count)));
    }
    columns.push(("context", same(Some("user"), count)));
    columns.push(("vartype", same(Some("string"), count)));
    columns.push(("source", same(Some("default"), count)));
    for name in ["min_val", "max_val", "enumvals"] {
        columns.push((name, same(None, count)));
    }
    columns.push(("boot_val", values.clone()));
    columns.push(("reset_val", values));
    columns.push(("sourcefile", same(None, count)));
    columns.push(("sourceline", Arc::new(Int32Array::new_null(count))));
    columns.push(("pending_restart", Arc::new(BooleanArray::from(vec![false; count]))));
    table(columns)
}
