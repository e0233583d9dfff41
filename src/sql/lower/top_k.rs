//! LIMIT, and numbers of rows up to a limit.

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, Expr, FetchType, Limit, LogicalPlan, Operator, SkipType, Sort, Window,
};

use super::window::{Widened, function};
use super::{Lowering, relaxed};
use crate::delta::plan::{Node, NodeId};
use crate::delta::top_k::{Numbering, TopKSpec};
use crate::sql::error::SqlError;

/// Rows by their numbers: those after `skip`, up to `last`.
#[derive(Clone, Copy)]
struct Bounds {
    skip: u64,
    last: u64,
}

impl Lowering<'_> {
    pub(super) fn limit(&mut self, limit: &Limit, schema: SchemaRef) -> Result<NodeId, SqlError> {
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
            (limit.get_skip_type()?, limit.get_fetch_type()?)
        else {
            return Err(SqlError::unsupported(
                "a LIMIT or OFFSET that is not a number",
                "how many rows there are must not change",
                "write the number",
            ));
        };
        match limit.input.as_ref() {
            LogicalPlan::Sort(sort) => self.sorted_limit(sort, skip, fetch, schema),
            // Rows without columns are all the same.
            input if input.schema().fields().is_empty() => {
                let sort = Sort { expr: vec![], input: limit.input.clone(), fetch: None };
                self.sorted_limit(&sort, skip, fetch, schema)
            }
            _ => Err(SqlError::unsupported(
                "LIMIT without ORDER BY over a map",
                "which rows these are is left open",
                "add an ORDER BY, or leave the columns out that are maps",
            )),
        }
    }

    /// `fetch` rows in the order of `sort`, after the first `skip`.
    pub(super) fn sorted_limit(
        &mut self,
        sort: &Sort,
        skip: usize,
        fetch: Option<usize>,
        schema: SchemaRef,
    ) -> Result<NodeId, SqlError> {
        let input = self.node(&sort.input)?;
        let mut widened = Widened::new(sort.input.schema());
        let order = widened.order(&sort.expr);
        let input = self.widen(input, &widened)?;
        let within = sort.fetch.map(|fetch| fetch.saturating_sub(skip));
        let fetch = fetch.into_iter().chain(within).min();
        let spec = TopKSpec {
            partition: vec![],
            order,
            numbering: Numbering::RowNumber,
            skip: skip as u64,
            fetch: fetch.map(|fetch| fetch as u64),
            has_number: false,
            input: self.plan.schemas[input].clone(),
            schema: schema.clone(),
            retracts: self.retracts[input],
            horizon_ms: self.options.horizon_ms,
        };
        Ok(self.push(Node::TopK { input, spec }, schema, true))
    }

    /// `query` as the first rows of partitions, where it is a filter on their numbers and little else. The number
    /// itself is computed only where one of `readers`, or else everyone, reads it.
    pub(super) fn first_of_partitions(
        &mut self,
        query: &LogicalPlan,
        readers: Option<&[Expr]>,
    ) -> Result<Option<NodeId>, SqlError> {
        let LogicalPlan::Filter(filter) = unsorted(query) else { return Ok(None) };
        let LogicalPlan::Window(window) = filter.input.as_ref() else { return Ok(None) };
        let Some(numbering) = numbering(window)? else { return Ok(None) };
        let last = window.schema.fields().len() - 1;
        let number = Column::from(window.schema.qualified_field(last));
        let (mut bounds, mut rest) = (Bounds { skip: 0, last: u64::MAX }, vec![]);
        for condition in split_conjunction_owned(filter.predicate.clone()) {
            match bound(&condition, &number) {
                Some(bound) => {
                    bounds = Bounds { skip: bounds.skip.max(bound.skip), last: bounds.last.min(bound.last) }
                }
                None => rest.push(condition),
            }
        }
        if bounds.last == u64::MAX {
            return Ok(None);
        }
        let reads = |e: &Expr| e.column_refs().contains(&number);
        let has_number = readers.is_none_or(|readers| readers.iter().any(reads)) || rest.iter().any(reads);
        let id = self.numbered(window, numbering, bounds, has_number)?;
        match conjunction(rest) {
            Some(rest) => self.filter(id, &window.schema, rest).map(Some),
            None => Ok(Some(id)),
        }
    }

    fn numbered(
        &mut self,
        window: &Window,
        numbering: Numbering,
        bounds: Bounds,
        has_number: bool,
    ) -> Result<NodeId, SqlError> {
        let params = function(&window.window_expr[0])?.params;
        let input = self.node(&window.input)?;
        let mut widened = Widened::new(window.input.schema());
        let partition = params.partition_by.iter().map(|e| widened.column(e)).collect();
        let order = widened.order(&params.order_by);
        let input = self.widen(input, &widened)?;
        let mut fields = relaxed(&window.schema).fields().to_vec();
        let number = fields.pop();
        let number_type = number.as_ref().map_or(DataType::UInt64, |field| field.data_type().clone());
        if number_type != DataType::UInt64 {
            return Err(SqlError::Engine(format!(
                "numbers of rows are of type {number_type}, UInt64 expected"
            )));
        }
        fields.extend(number.filter(|_| has_number));
        let schema = SchemaRef::new(Schema::new(fields));
        let spec = TopKSpec {
            partition,
            order,
            numbering,
            skip: bounds.skip,
            fetch: Some(bounds.last.saturating_sub(bounds.skip)),
            has_number,
            input: self.plan.schemas[input].clone(),
            schema: schema.clone(),
            retracts: self.retracts[input],
            horizon_ms: self.options.horizon_ms,
        };
        Ok(self.push(Node::TopK { input, spec }, schema, true))
    }
}

/// `query` without orders that limit nothing.
fn unsorted(query: &LogicalPlan) -> &LogicalPlan {
    match query {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => unsorted(&sort.input),
        other => other,
    }
}

/// How `window` numbers rows, where that is all that it does.
fn numbering(window: &Window) -> Result<Option<Numbering>, SqlError> {
    let [expression] = window.window_expr.as_slice() else { return Ok(None) };
    Ok(match function(expression)?.fun.name() {
        "row_number" => Some(Numbering::RowNumber),
        "rank" => Some(Numbering::Rank),
        _ => None,
    })
}

/// The numbers for which `condition` is true, where it compares `number` with a constant.
fn bound(condition: &Expr, number: &Column) -> Option<Bounds> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let (op, limit) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(limit, _)) if column == number => (*op, limit),
        (Expr::Literal(limit, _), Expr::Column(column)) if column == number => (op.swap()?, limit),
        _ => return None,
    };
    let limit = match limit {
        ScalarValue::UInt64(Some(limit)) => *limit,
        ScalarValue::Int64(Some(limit)) => (*limit).max(0) as u64,
        _ => return None,
    };
    let (skip, last) = match op {
        Operator::LtEq => (0, limit),
        Operator::Lt => (0, limit.saturating_sub(1)),
        Operator::Eq => (limit.saturating_sub(1), limit),
        Operator::Gt => (limit, u64::MAX),
        Operator::GtEq => (limit.saturating_sub(1), u64::MAX),
        _ => return None,
    };
    Some(Bounds { skip, last })
}
