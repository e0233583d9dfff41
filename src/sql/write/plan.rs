//! The queries that a statement comes to.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast;

use super::assign::assigned;
use super::names::{
    and, assigned_values, check_conflict_target, named, places, qualify, table_and_alias, tables_of,
};
use super::source::type_rows;
use super::{CopyIn, Write, alias_of, assigned_column, quoted, select};
use crate::sql::catalog::{Catalog, Contents, Kind, Relation};
use crate::sql::error::{SqlError, WriteError};
use crate::sql::question::{Parameter, types, with_parameters};
use crate::sql::session::{Session, missing};
use crate::sql::statement::{Parsed, parse_query};
use crate::sql::table::TableDefinition;

/// The rows that an INSERT brings, to the expressions of its ON CONFLICT.
const EXCLUDED: &str = "excluded";

/// The column that tells rows of the table apart that are the same.
pub(super) const ROW_NUMBER: &str = "__row";

/// Rows that are known once the queries before have run.
#[derive(Default)]
pub(super) struct Slot(Mutex<Vec<RecordBatch>>);

impl Slot {
    pub fn put(&self, rows: Vec<RecordBatch>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }
}

impl Contents for Slot {
    fn read(&self) -> Result<Vec<RecordBatch>, SqlError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// One query.
pub(super) struct Step {
    pub state: SessionState,
    pub plan: LogicalPlan,
}

impl Step {
    /// The same with values for its parameters, of which `parameters` may have more.
    pub fn bound(self, parameters: &[Parameter]) -> Result<Step, SqlError> {
        let count = types(&self.plan, &[])?.len().min(parameters.len());
        Ok(Step { plan: with_parameters(self.plan, parameters[..count].to_vec())?, ..self })
    }
}

/// What a statement does to its table.
pub(super) enum Steps {
    /// Adds the rows of `rows`, in the columns of the table.
    Insert { rows: Step, on_conflict: Option<Box<OnConflict>> },
    /// Takes the rows in the first columns of `rows` away, and adds them with the columns of `assigned` as in
    /// the columns that follow.
    Update { rows: Step, assigned: Vec<usize>, is_joined: bool },
    /// Takes the rows of `rows` away.
    Delete { rows: Step, is_joined: bool },
}

/// What becomes of rows whose key is there already.
pub(super) struct OnConflict {
    /// Those of the rows whose key is not.
    pub fresh: Step,
    /// As in [`Steps::Update`], where they change the rows that are there.
    pub update: Option<(Step, Vec<usize>)>,
}

/// A statement, planned.
pub(super) struct Planned {
    pub table: String,
    pub definition: Arc<TableDefinition>,
    pub steps: Steps,
    /// The rows of RETURNING, over those of `affected`.
    pub returning: Option<Step>,
    pub affected: Arc<Slot>,
    /// The rows that are to be added.
    pub excluded: Arc<Slot>,
}

impl Planned {
    /// The type of each parameter, those of `known` first; `None` where nothing says.
    pub fn parameters(&self, known: &[Option<DataType>]) -> Result<Vec<Option<DataType>>, SqlError> {
        let mut all = known.to_vec();
        for step in self.all() {
            let own = types(&step.plan, &[])?;
            all.resize(all.len().max(own.len()), None);
            all.iter_mut().zip(own).for_each(|(all, own)| *all = all.take().or(own));
        }
        Ok(all)
    }

    fn all(&self) -> impl Iterator<Item = &Step> {
        let (rows, more) = match &self.steps {
            Steps::Insert { rows, on_conflict } => (rows, on_conflict.as_deref()),
            Steps::Update { rows, .. } | Steps::Delete { rows, .. } => (rows, None),
        };
        let conflict = more.into_iter().flat_map(|conflict| {
            [Some(&conflict.fresh), conflict.update.as_ref().map(|(step, _)| step)].into_iter().flatten()
        });
        [rows].into_iter().chain(conflict).chain(&self.returning)
    }
}

/// The table `name` of `catalog`, as a user created it.
///
/// # Errors
///
/// When there is no such relation, or it is no table.
pub fn target(name: &str, catalog: &Catalog) -> Result<Arc<TableDefinition>, SqlError> {
    let relation = catalog.get(name).ok_or_else(|| missing(name, catalog))?;
    match &relation.kind {
        Kind::Table { definition, .. } => Ok(definition.clone()),
        _ => Err(WriteError::NotTable { relation: name.to_owned(), kind: relation.kind_name() }.into()),
    }
}

/// The same for a statement that changes rows that are there.
fn changeable(
    name: &str,
    catalog: &Catalog,
    command: &'static str,
) -> Result<Arc<TableDefinition>, SqlError> {
    let definition = target(name, catalog)?;
    match definition.is_append_only {
        true => Err(WriteError::AppendOnly { command, table: name.to_owned() }.into()),
        false => Ok(definition),
    }
}

/// Plans the queries of one statement.
pub(super) struct Planner<'a> {
    pub session: &'a Session,
    pub catalog: &'a Catalog,
    pub tick: u64,
}

impl Planner<'_> {
    pub async fn plan(&self, write: &Write) -> Result<Planned, SqlError> {
        match write {
            Write::Insert(insert) => self.insert(insert).await,
            Write::Update(update) => self.update(update).await,
            Write::Delete(delete) => self.delete(delete).await,
            Write::Copy(copy) => self.copy(copy).await,
        }
    }

    /// A query over the catalog with some relations in the place of others.
    async fn step(&self, query: Parsed, replaced: Vec<(String, Relation)>) -> Result<Step, SqlError> {
        let mut catalog = self.catalog.clone();
        catalog.extend(replaced);
        let (state, plan) = self.session.plan(query, &catalog, self.tick).await?;
        Ok(Step { state, plan })
    }

    async fn insert(&self, insert: &ast::Insert) -> Result<Planned, SqlError> {
        let ast::TableObject::TableName(name) = &insert.table else {
            return Err(SqlError::Syntax(format!("INSERT INTO {} is not supported", insert.table)));
        };
        let table = assigned_column(name)?;
        let definition = target(&table, self.catalog)?;
        let names = insert.columns.iter().map(assigned_column).collect::<Result<Vec<_>, _>>()?;
        let columns = places(&table, &definition, &names)?;
        let mut source = match &insert.source {
            Some(query) => {
                let mut query = query.clone();
                type_rows(&mut query, &definition, &columns)?;
                self.step(Parsed::Statement(Box::new(ast::Statement::Query(query))), vec![]).await?
            }
            None => self.step(parse_query("SELECT")?, vec![]).await?,
        };
        let given = source.plan.schema().fields().len();
        source.plan =
            self.whole_rows(source.plan, &definition, named(&columns, given, !names.is_empty())?).await?;
        let alias = alias_of(insert.table_alias.as_ref().map(|alias| &alias.alias), &table);
        let mut planned = self.planned(table, definition, source);
        if let Some(on) = &insert.on {
            let conflict = self.on_conflict(on, &planned, &alias).await?;
            if let Steps::Insert { on_conflict, .. } = &mut planned.steps {
                *on_conflict = Some(Box::new(conflict));
            }
        }
        self.returning(planned, insert.returning.as_ref(), &alias).await
    }

    async fn copy(&self, copy: &CopyIn) -> Result<Planned, SqlError> {
        let definition = target(&copy.table, self.catalog)?;
        let columns = places(&copy.table, &definition, &copy.columns)?;
        let Some(first) = copy.rows.first() else {
            return Err(SqlError::Engine("a COPY without batches".to_owned()));
        };
        let schema = first.schema();
        let rows = Slot::default();
        rows.put(copy.rows.clone());
        let copied = Relation { schema: schema.clone(), kind: Kind::System(Arc::new(rows)) };
        let query = parse_query(&format!("SELECT * FROM {EXCLUDED}"))?;
        let mut source = self.step(query, vec![(EXCLUDED.to_owned(), copied)]).await?;
        let columns = named(&columns, schema.fields().len(), true)?;
        source.plan = self.whole_rows(source.plan, &definition, columns).await?;
        Ok(self.planned(copy.table.clone(), definition, source))
    }

    fn planned(&self, table: String, definition: Arc<TableDefinition>, rows: Step) -> Planned {
        let steps = Steps::Insert { rows, on_conflict: None };
        let (affected, excluded) = Default::default();
        Planned { table, definition, steps, returning: None, affected, excluded }
    }

    /// The rows of `source`, which has values for `columns`, with the defaults of the others.
    async fn whole_rows(
        &self,
        source: LogicalPlan,
        definition: &TableDefinition,
        columns: &[usize],
    ) -> Result<LogicalPlan, SqlError> {
        let defaults = self.defaults(definition).await?;
        let given = source.schema().columns();
        let mut values = vec![];
        for (at, field) in definition.schema.fields().iter().enumerate() {
            let (value, data_type) = match columns.iter().position(|column| *column == at) {
                Some(place) => {
                    let value = Expr::Column(given[place].clone());
                    let data_type = value.get_type(source.schema())?;
                    (value, data_type)
                }
                None => defaults[at].clone(),
            };
            values.push(assigned(value, &data_type, field)?.alias(field.name()));
        }
        Ok(LogicalPlanBuilder::from(source).project(values)?.build()?)
    }

    /// The default of each column, and its type.
    pub async fn defaults(&self, definition: &TableDefinition) -> Result<Vec<(Expr, DataType)>, SqlError> {
        let mut defaults = vec![];
        for column in &definition.columns {
            let Some(text) = &column.default else {
                defaults.push((datafusion::logical_expr::lit(Parameter::Null), DataType::Null));
                continue;
            };
            let item = ast::SelectItem::UnnamedExpr(crate::sql::table::expression(text)?);
            let step = self.step(select(vec![item], vec![], None)?, vec![]).await?;
            let LogicalPlan::Projection(projection) = &step.plan else {
                return Err(SqlError::Syntax(format!("the default {text} is not a value of one row")));
            };
            let value = projection.expr[0].clone();
            let data_type = value.get_type(projection.input.schema())?;
            defaults.push((value, data_type));
        }
        Ok(defaults)
    }

    async fn on_conflict(
        &self,
        on: &ast::OnInsert,
        planned: &Planned,
        alias: &str,
    ) -> Result<OnConflict, SqlError> {
        let ast::OnInsert::OnConflict(on) = on else {
            return Err(SqlError::Syntax("ON DUPLICATE KEY is not supported; write ON CONFLICT".to_owned()));
        };
        let (table, definition) = (&planned.table, &planned.definition);
        check_conflict_target(on.conflict_target.as_ref(), table, definition, &on.action)?;
        let key = |left: &str| {
            let equal = |at: &usize| {
                let name = quoted(definition.schema.field(*at).name());
                format!("{left}.{name} = {EXCLUDED}.{name}")
            };
            definition.primary_key.iter().map(equal).collect::<Vec<_>>().join(" AND ")
        };
        let excluded =
            || Relation { schema: definition.schema.clone(), kind: Kind::System(planned.excluded.clone()) };
        let fresh = format!(
            "SELECT * FROM {EXCLUDED} WHERE NOT EXISTS (SELECT 1 FROM {} AS existing WHERE {})",
            quoted(table),
            key("existing")
        );
        let fresh = self.step(parse_query(&fresh)?, vec![(EXCLUDED.to_owned(), excluded())]).await?;
        let ast::OnConflictAction::DoUpdate(update) = &on.action else {
            return Ok(OnConflict { fresh, update: None });
        };
        let from = format!("SELECT 1 FROM {} AS {}, {EXCLUDED}", quoted(table), quoted(alias));
        let (mut condition, mut assignments) = (update.selection.clone(), update.assignments.clone());
        for assignment in &mut assignments {
            qualify(&mut assignment.value, definition, alias);
        }
        if let Some(condition) = &mut condition {
            qualify(condition, definition, alias);
        }
        let keys = crate::sql::table::expression(&key(&quoted(alias)))?;
        let condition = match condition {
            Some(condition) => and(keys, condition),
            None => keys,
        };
        let tables = tables_of(&from)?;
        let replaced = vec![(EXCLUDED.to_owned(), excluded())];
        let update = self.changed(table, definition, alias, tables, Some(condition), &assignments, replaced);
        Ok(OnConflict { fresh, update: Some(update.await?) })
    }

    async fn update(&self, update: &ast::Update) -> Result<Planned, SqlError> {
        if update.limit.is_some() || !update.order_by.is_empty() || !update.table.joins.is_empty() {
            return Err(SqlError::Syntax("UPDATE with LIMIT, ORDER BY or JOIN is not supported".to_owned()));
        }
        let (table, alias) = table_and_alias(&update.table.relation)?;
        let definition = changeable(&table, self.catalog, "UPDATE")?;
        let mut tables = vec![update.table.clone()];
        if let Some(ast::UpdateTableFromKind::AfterSet(from) | ast::UpdateTableFromKind::BeforeSet(from)) =
            &update.from
        {
            tables.extend(from.iter().cloned());
        }
        let is_joined = tables.len() > 1;
        let replaced = if is_joined { vec![self.numbered(&table)?] } else { vec![] };
        let selection = update.selection.clone();
        let assignments = &update.assignments;
        let changed = self.changed(&table, &definition, &alias, tables, selection, assignments, replaced);
        let (rows, assigned) = changed.await?;
        let (affected, excluded) = Default::default();
        let steps = Steps::Update { rows, assigned, is_joined };
        let planned = Planned { table, definition, steps, returning: None, affected, excluded };
        self.returning(planned, update.returning.as_ref(), &alias).await
    }

    async fn delete(&self, delete: &ast::Delete) -> Result<Planned, SqlError> {
        let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
        let [table] = from.as_slice() else {
            return Err(SqlError::Syntax("DELETE takes rows from one table".to_owned()));
        };
        if delete.limit.is_some() || !delete.order_by.is_empty() || !table.joins.is_empty() {
            return Err(SqlError::Syntax("DELETE with LIMIT, ORDER BY or JOIN is not supported".to_owned()));
        }
        let mut tables = vec![table.clone()];
        let (table, alias) = table_and_alias(&table.relation)?;
        let definition = changeable(&table, self.catalog, "DELETE")?;
        tables.extend(delete.using.iter().flatten().cloned());
        let is_joined = tables.len() > 1;
        let replaced = if is_joined { vec![self.numbered(&table)?] } else { vec![] };
        let selection = delete.selection.clone();
        let (rows, _) = self.changed(&table, &definition, &alias, tables, selection, &[], replaced).await?;
        let (affected, excluded) = Default::default();
        let steps = Steps::Delete { rows, is_joined };
        let planned = Planned { table, definition, steps, returning: None, affected, excluded };
        self.returning(planned, delete.returning.as_ref(), &alias).await
    }

    /// The rows of the table that pass `selection`, then the values of `assignments`, then the number of the
    /// row where the table is joined with others; and the columns that are assigned.
    #[expect(clippy::too_many_arguments, reason = "the parts of a statement")]
    async fn changed(
        &self,
        table: &str,
        definition: &TableDefinition,
        alias: &str,
        tables: Vec<ast::TableWithJoins>,
        selection: Option<ast::Expr>,
        assignments: &[ast::Assignment],
        replaced: Vec<(String, Relation)>,
    ) -> Result<(Step, Vec<usize>), SqlError> {
        let is_numbered = replaced.iter().any(|(name, _)| name == table);
        let column = |name: &str| {
            let parts = [alias, name].map(|part| ast::Ident::with_quote('"', part));
            ast::Expr::CompoundIdentifier(parts.into())
        };
        let item = |expr: ast::Expr, alias: String| ast::SelectItem::ExprWithAlias {
            expr,
            alias: ast::Ident::with_quote('"', alias),
        };
        let fields = definition.schema.fields();
        let old = fields.iter().enumerate().map(|(at, f)| item(column(f.name()), format!("__old_{at}")));
        let mut items: Vec<ast::SelectItem> = old.collect();
        let values = assigned_values(table, definition, assignments)?;
        for (at, value) in &values {
            items.push(item(value.clone(), format!("__new_{at}")));
        }
        if is_numbered {
            items.push(ast::SelectItem::UnnamedExpr(column(ROW_NUMBER)));
        }
        let mut step = self.step(select(items, tables, selection)?, replaced).await?;
        let mut projected: Vec<Expr> = vec![];
        for (place, own) in step.plan.schema().columns().into_iter().enumerate() {
            let name = own.name.clone();
            let value = Expr::Column(own);
            let assigned_to = place.checked_sub(fields.len()).and_then(|new| values.get(new));
            projected.push(match assigned_to {
                Some((at, _)) => {
                    let data_type = value.get_type(step.plan.schema())?;
                    assigned(value, &data_type, definition.schema.field(*at))?.alias(name)
                }
                None => value,
            });
        }
        step.plan = LogicalPlanBuilder::from(step.plan).project(projected)?.build()?;
        Ok((step, values.into_iter().map(|(at, _)| at).collect()))
    }

    /// The table with a number for each of its rows.
    fn numbered(&self, table: &str) -> Result<(String, Relation), SqlError> {
        let relation = self.catalog.get(table).ok_or_else(|| missing(table, self.catalog))?;
        let Kind::Table { contents, .. } = &relation.kind else {
            return Err(missing(table, self.catalog));
        };
        let numbered = super::evaluate::Numbered::new(&relation.schema, contents.clone());
        Ok((table.to_owned(), Relation { schema: numbered.schema(), kind: Kind::System(Arc::new(numbered)) }))
    }

    async fn returning(
        &self,
        mut planned: Planned,
        items: Option<&Vec<ast::SelectItem>>,
        alias: &str,
    ) -> Result<Planned, SqlError> {
        let Some(items) = items else { return Ok(planned) };
        let from = tables_of(&format!("SELECT 1 FROM {} AS {}", quoted(&planned.table), quoted(alias)))?;
        let kind = Kind::System(planned.affected.clone());
        let affected = Relation { schema: planned.definition.schema.clone(), kind };
        let query = select(items.clone(), from, None)?;
        planned.returning = Some(self.step(query, vec![(planned.table.clone(), affected)]).await?);
        Ok(planned)
    }
}
