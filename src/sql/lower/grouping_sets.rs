//! GROUPING SETS, ROLLUP and CUBE: the groups of each set beside each other.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};

use super::Lowering;
use crate::delta::plan::{Node, NodeId};
use crate::sql::error::SqlError;

/// The most grouping sets of one query, which is DataFusion's own limit for CUBE.
const SETS_MAX: usize = 65_536;

/// One of the sets: which of all group expressions it groups by.
struct Set {
    is_in: Vec<bool>,
    /// As in DataFusion's `__grouping_id`: a bit for each expression that it does not group by, the last being the
    /// lowest, and above them how many equal sets stand before this one.
    grouping_id: u64,
}

impl Lowering<'_> {
    /// The groups of each of `sets`, with null for what it does not group by, and the grouping id. The set without
    /// expressions has one row, over no rows too.
    pub(super) fn grouping_sets(
        &mut self,
        query: &Aggregate,
        sets: &GroupingSet,
        schema: SchemaRef,
    ) -> Result<NodeId, SqlError> {
        let expressions: Vec<Expr> = sets.distinct_expr().into_iter().cloned().collect();
        let mut nodes = vec![];
        for set in sets_of(sets, &expressions)? {
            nodes.push(self.grouping_set(query, &expressions, &set, &schema)?);
        }
        let retracts = nodes.iter().any(|node| self.retracts[*node]);
        Ok(self.push(Node::Union(nodes), schema, retracts))
    }

    fn grouping_set(
        &mut self,
        query: &Aggregate,
        expressions: &[Expr],
        set: &Set,
        schema: &SchemaRef,
    ) -> Result<NodeId, SqlError> {
        let groups: Vec<Expr> =
            expressions.iter().zip(&set.is_in).filter(|(_, is_in)| **is_in).map(|(e, _)| e.clone()).collect();
        let (mut columns, mut next) = (vec![], 0);
        for (place, field) in schema.fields().iter().enumerate() {
            let is_id = place == expressions.len();
            columns.push(match set.is_in.get(place) {
                Some(false) => literal(ScalarValue::try_new_null(field.data_type())?),
                _ if is_id => literal(ScalarValue::UInt64(Some(set.grouping_id)).cast_to(field.data_type())?),
                _ => {
                    next += 1;
                    Arc::new(Column::new(field.name(), next - 1)) as Arc<dyn PhysicalExpr>
                }
            });
        }
        let input = match groups.is_empty() && query.aggr_expr.is_empty() {
            true => {
                let options = RecordBatchOptions::new().with_row_count(Some(1));
                let nothing = Arc::new(Schema::empty());
                let one = RecordBatch::try_new_with_options(nothing.clone(), vec![], &options)?;
                self.push(Node::Constant(one), nothing, false)
            }
            false => {
                let plain = Aggregate::try_new(query.input.clone(), groups, query.aggr_expr.clone())?;
                self.node(&LogicalPlan::Aggregate(plain))?
            }
        };
        Ok(self.map(input, None, Some(columns), schema.clone()))
    }
}

fn literal(value: ScalarValue) -> Arc<dyn PhysicalExpr> {
    Arc::new(Literal::new(value))
}

fn sets_of(sets: &GroupingSet, expressions: &[Expr]) -> Result<Vec<Set>, SqlError> {
    let count = expressions.len();
    let patterns: Vec<Vec<bool>> = match sets {
        GroupingSet::GroupingSets(sets) => {
            sets.iter().map(|set| expressions.iter().map(|e| set.contains(e)).collect()).collect()
        }
        GroupingSet::Rollup(_) => (0..=count).map(|len| (0..count).map(|i| i < len).collect()).collect(),
        GroupingSet::Cube(_) if count < usize::BITS as usize && 1 << count <= SETS_MAX => {
            (0..1_usize << count).map(|bits| (0..count).map(|i| bits >> i & 1 == 1).collect()).collect()
        }
        GroupingSet::Cube(_) => vec![],
    };
    if patterns.is_empty() || patterns.len() > SETS_MAX {
        return Err(SqlError::Limit {
            what: "the query has more grouping sets than",
            limit: SETS_MAX.to_string(),
            hint: "name those that are needed in GROUPING SETS",
        });
    }
    let mut seen: HashMap<Vec<bool>, u64> = HashMap::new();
    let numbered = patterns.into_iter().map(|is_in| {
        let before = seen.entry(is_in.clone()).and_modify(|n| *n += 1).or_insert(0);
        let mask = is_in.iter().fold(0_u64, |mask, is_in| mask << 1 | u64::from(!is_in));
        Set { grouping_id: mask | before.checked_shl(count as u32).unwrap_or(0), is_in }
    });
    Ok(numbered.collect())
}
