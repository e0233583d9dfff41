//! Queries of clients: with parameters, and about PostgreSQL's catalog.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
/// The value of a parameter.
pub use datafusion::common::ScalarValue as Parameter;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast;

use super::error::SqlError;
use super::pg_catalog::{self, Client};
use super::statement::Parsed;

/// The most parameters of a query: as many as PostgreSQL's protocol can count.
pub const PARAMETERS_MAX: usize = u16::MAX as usize;

/// A query, and who asks where that matters.
#[derive(Clone, Debug)]
pub struct Question {
    pub(super) statement: Parsed,
    /// Who asks, for a query that reads PostgreSQL's catalog.
    pub(super) client: Option<Arc<Client>>,
}

/// What is known of a query before it is run.
#[derive(Clone, Debug)]
pub struct Description {
    /// The columns of its answer.
    pub schema: SchemaRef,
    /// The type of each parameter: text, where nothing says more.
    pub parameters: Vec<DataType>,
}

impl Question {
    /// A query that means the same whoever asks.
    pub fn plain(statement: Parsed) -> Self {
        Question { statement, client: None }
    }

    /// A query of `client` that [concerns](pg_catalog::concerns) PostgreSQL's catalog.
    pub fn catalog(sql: &str, client: &Arc<Client>) -> Result<Self, SqlError> {
        Ok(Question { statement: pg_catalog::parse(sql)?, client: Some(client.clone()) })
    }

    /// The query itself.
    pub fn statement(&self) -> &Parsed {
        &self.statement
    }

    /// PostgreSQL's command tag.
    pub fn tag(&self) -> &'static str {
        match &self.statement {
            Parsed::Explain(_) => "EXPLAIN",
            Parsed::Statement(statement) => match statement.as_ref() {
                ast::Statement::Explain { .. } | ast::Statement::ExplainTable { .. } => "EXPLAIN",
                _ => "SELECT",
            },
            _ => "SELECT",
        }
    }
}

/// The types of the parameters of `plan`, those of `known` first; `None` where nothing says.
pub(super) fn types(
    plan: &LogicalPlan,
    known: &[Option<DataType>],
) -> Result<Vec<Option<DataType>>, SqlError> {
    let inferred = plan.get_parameter_types()?;
    let around = types_around(plan)?;
    let mut types = known.to_vec();
    for name in plan.get_parameter_names()? {
        let number = name.trim_start_matches('$').parse().ok();
        let Some(number) = number.filter(|n| (1..=PARAMETERS_MAX).contains(n)) else {
            return Err(SqlError::Syntax(format!(
                "parameter \"{name}\" is not one of $1 to ${PARAMETERS_MAX}"
            )));
        };
        types.resize(types.len().max(number), None);
        let place = &mut types[number - 1];
        let inferred = inferred.get(&name).cloned().flatten().or_else(|| around.get(&name).cloned());
        *place = place.take().or(inferred.filter(|data_type| *data_type != DataType::Null));
    }
    Ok(types)
}

/// The types of the parameters of `plan`, those of `known` first; text, where nothing says.
pub(super) fn parameter_types(
    plan: &LogicalPlan,
    known: &[Option<DataType>],
) -> Result<Vec<DataType>, SqlError> {
    let types = types(plan, known)?;
    Ok(types.into_iter().map(|data_type| data_type.unwrap_or(DataType::Utf8)).collect())
}

/// The types of parameters that stand where the planner does not look: in a cast, which says what it wants,
/// and behind LIMIT and OFFSET.
fn types_around(plan: &LogicalPlan) -> Result<BTreeMap<String, DataType>, SqlError> {
    let mut types = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Limit(limit) = node {
            for expr in [&limit.skip, &limit.fetch].into_iter().flatten() {
                if let Expr::Placeholder(parameter) = expr.as_ref() {
                    types.insert(parameter.id.clone(), DataType::Int64);
                }
            }
        }
        node.apply_expressions(|expr| {
            expr.apply(|inner| {
                if let Expr::Cast(cast) = inner
                    && let Expr::Placeholder(parameter) = cast.expr.as_ref()
                {
                    types.insert(parameter.id.clone(), cast.field.data_type().clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(types)
}

/// `plan` with `parameters` in their places, cast to the types that it wants.
///
/// # Errors
///
/// Another number of values than of parameters, or a value that cannot be cast.
pub(super) fn with_parameters(
    plan: LogicalPlan,
    parameters: Vec<Parameter>,
) -> Result<LogicalPlan, SqlError> {
    let types = types(&plan, &[])?;
    if types.len() != parameters.len() {
        let (expected, given) = (types.len(), parameters.len());
        return Err(SqlError::Syntax(format!(
            "the statement has {expected} parameters, and {given} values were given"
        )));
    }
    if types.is_empty() {
        return Ok(plan);
    }
    let cast = |(index, (value, wanted)): (usize, (Parameter, Option<DataType>))| match wanted {
        None => Ok(value),
        Some(wanted) => value.cast_to(&wanted).map_err(|_| SqlError::Option {
            name: format!("${}", index + 1),
            value: value.to_string(),
            expected: format!("a value of type {wanted} is expected"),
        }),
    };
    let values: Vec<Parameter> =
        parameters.into_iter().zip(types).enumerate().map(cast).collect::<Result<_, _>>()?;
    plan.with_param_values(values).map_err(SqlError::from)
}
