//! What a query reads of history.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::Column;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, Operator};
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{PhysicalExpr, conjunction};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::scalar::ScalarValue;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowPredicate, ArrowPredicateFn, RowFilter};

use super::read::Opened;
use super::{HistoryError, HistoryFile, Past};
use crate::delta::expression::{evaluate_mask, guarded};
use crate::sql::catalog::{OnDisk, Wanted};

/// Batches that are read ahead of whoever takes them.
const BATCHES_AHEAD: usize = 2;

impl From<HistoryError> for DataFusionError {
    fn from(error: HistoryError) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

impl OnDisk for Past {
    fn scan(&self, wanted: &Wanted<'_>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let projected = Arc::new(wanted.schema.project(&wanted.columns)?);
        let conditions = Arc::new(Conditions::new(wanted)?);
        let parts: Vec<(Arc<HistoryFile>, u64)> =
            self.parts().map(|(file, rows)| (file.clone(), rows)).collect();
        let count = wanted.session.config().target_partitions().clamp(1, parts.len().max(1));
        let share = |place: usize| parts.iter().skip(place).step_by(count).cloned().collect();
        let partitions = (0..count).map(|place| -> Arc<dyn PartitionStream> {
            let (schema, columns) = (projected.clone(), wanted.columns.clone());
            let whole = wanted.schema.clone();
            Arc::new(Share { parts: share(place), schema, whole, columns, conditions: conditions.clone() })
        });
        let partitions = partitions.collect();
        Ok(Arc::new(StreamingTableExec::try_new(projected, partitions, None, None, false, None)?))
    }
}

/// What rows have to meet, as far as that can be told while they are read.
#[derive(Debug)]
struct Conditions {
    /// Each with the columns that it reads.
    each: Vec<(Arc<dyn PhysicalExpr>, Vec<usize>)>,
    /// Which row groups may hold such rows.
    pruning: Option<PruningPredicate>,
}

impl Conditions {
    fn new(wanted: &Wanted<'_>) -> DataFusionResult<Self> {
        let schema = wanted.schema.as_ref().clone().try_into()?;
        let (mut each, mut ordered) = (vec![], vec![]);
        for filter in wanted.filters.iter().filter(|filter| is_total(filter)) {
            let condition = wanted.session.create_physical_expr(filter.clone(), &schema)?;
            let mut columns: Vec<usize> = collect_columns(&condition).iter().map(|c| c.index()).collect();
            columns.sort_unstable();
            if columns.iter().all(|c| is_ordered(wanted.schema.field(*c).data_type())) {
                ordered.push(condition.clone());
            }
            if !columns.is_empty() {
                each.push((condition, columns));
            }
        }
        let builder = PruningPredicateBuilder::new().with_file_schema(wanted.schema.clone());
        let pruning = match ordered.is_empty() {
            true => None,
            false => builder.try_build(conjunction(ordered)).ok().filter(|pruning| !pruning.always_true()),
        };
        Ok(Conditions { each, pruning })
    }

    /// The row groups of `opened` that may hold rows that meet them.
    fn groups(&self, opened: &Opened) -> DataFusionResult<Vec<usize>> {
        let mut groups: Vec<usize> = (0..opened.metadata().num_row_groups()).collect();
        let Some(pruning) = &self.pruning else { return Ok(groups) };
        // Bloom filters are read of those groups alone that have the value between their least and their greatest.
        for has_filters in [false, true] {
            let kept = pruning.prune(&Groups { opened, groups: &groups, has_filters })?;
            groups = groups
                .into_iter()
                .zip(kept)
                .filter_map(|(group, is_kept)| is_kept.then_some(group))
                .collect();
        }
        Ok(groups)
    }

    /// The conditions as a reader of Parquet wants them.
    fn predicates(&self, opened: &Opened) -> DataFusionResult<Vec<Box<dyn ArrowPredicate>>> {
        let predicate = |(condition, columns): &(Arc<dyn PhysicalExpr>, Vec<usize>)| {
            let schema = opened.schema().project(columns)?;
            let condition = reassign_expr_columns(condition.clone(), &schema)?;
            let mask = ProjectionMask::roots(opened.parquet_schema(), columns.iter().copied());
            let meets = move |rows: RecordBatch| -> Result<BooleanArray, ArrowError> {
                evaluate_mask(&condition, &rows).map_err(|error| ArrowError::ExternalError(Box::new(error)))
            };
            Ok(Box::new(ArrowPredicateFn::new(mask, meets)) as Box<dyn ArrowPredicate>)
        };
        self.each.iter().map(predicate).collect()
    }
}

/// Whether `condition` has a value for each row, whatever it holds: then it may be asked of rows that another condition
/// would have kept from it.
fn is_total(condition: &Expr) -> bool {
    let mut is_total = true;
    // Never fails: what it is given does not.
    let _ = condition.apply(|expr| {
        is_total &= match expr {
            Expr::Column(_) | Expr::Literal(..) | Expr::Not(_) | Expr::IsNull(_) | Expr::IsNotNull(_) => true,
            Expr::IsTrue(_) | Expr::IsFalse(_) | Expr::IsNotTrue(_) | Expr::IsNotFalse(_) => true,
            Expr::Between(_) | Expr::InList(_) => true,
            Expr::Like(like) => matches!(*like.pattern, Expr::Literal(..)),
            Expr::BinaryExpr(binary) => is_comparison(binary.op),
            _ => false,
        };
        Ok(if is_total { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    is_total
}

fn is_comparison(operator: Operator) -> bool {
    use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | And | Or | IsDistinctFrom | IsNotDistinctFrom)
}

/// Whether the least and the greatest value of a column say that others are not in it. Of floats they do not: what is no
/// number is greater than all numbers, and not among them.
fn is_ordered(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Boolean | DataType::Timestamp(..) | DataType::Date32)
        || data_type.is_integer()
}

/// Row groups of a file, as they say of themselves what they hold.
struct Groups<'a> {
    opened: &'a Opened,
    groups: &'a [usize],
    has_filters: bool,
}

impl Groups<'_> {
    /// What `of` gives of a column for each group.
    fn statistics<T>(
        &self,
        column: &Column,
        of: impl Fn(&StatisticsConverter<'_>, Vec<&parquet::file::metadata::RowGroupMetaData>) -> Option<T>,
    ) -> Option<T> {
        let schema: &Schema = self.opened.schema();
        let converter =
            StatisticsConverter::try_new(&column.name, schema, self.opened.parquet_schema()).ok()?;
        of(&converter, self.groups.iter().map(|group| self.opened.metadata().row_group(*group)).collect())
    }
}

impl PruningStatistics for Groups<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.statistics(column, |converter, groups| converter.row_group_mins(groups).ok())
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.statistics(column, |converter, groups| converter.row_group_maxes(groups).ok())
    }

    fn num_containers(&self) -> usize {
        self.groups.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let counts =
            self.statistics(column, |converter, groups| converter.row_group_null_counts(groups).ok())?;
        Some(Arc::new(counts))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let rows = self.groups.iter().map(|group| self.opened.metadata().row_group(*group).num_rows() as u64);
        Some(Arc::new(UInt64Array::from_iter_values(rows)))
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        if !self.has_filters {
            return None;
        }
        let place = self.statistics(column, |converter, _| converter.parquet_column_index())?;
        let texts: Option<Vec<&str>> = values.iter().map(|value| value.try_as_str().flatten()).collect();
        let texts = texts?;
        let may_hold = |group: &usize| {
            // A filter that cannot be read says nothing.
            let filter = guarded(|| Ok(self.opened.get_row_group_column_bloom_filter(*group, place)?));
            filter.ok().flatten().is_none_or(|filter| texts.iter().any(|text| filter.check(*text)))
        };
        Some(self.groups.iter().map(|group| if may_hold(group) { None } else { Some(false) }).collect())
    }
}

/// The files that one partition of a query reads.
#[derive(Debug)]
struct Share {
    /// Each with how many of its first rows are meant.
    parts: Vec<(Arc<HistoryFile>, u64)>,
    schema: SchemaRef,
    /// All columns of the stream.
    whole: SchemaRef,
    columns: Vec<usize>,
    conditions: Arc<Conditions>,
}

impl PartitionStream for Share {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStream::builder(self.schema.clone(), BATCHES_AHEAD);
        let tell = builder.tx();
        let (schema, whole, columns) = (self.schema.clone(), self.whole.clone(), self.columns.clone());
        let (parts, conditions) = (self.parts.clone(), self.conditions.clone());
        builder.spawn_blocking(move || {
            for (file, count) in &parts {
                if tell.is_closed() {
                    break;
                }
                let outcome = read(file, *count, &columns, (&schema, &whole), &conditions, |rows| {
                    // Nobody takes them once the query has ended.
                    tell.blocking_send(Ok(rows)).is_ok()
                });
                match outcome {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
        builder.build()
    }
}

/// Gives `columns` of those of the first `count` rows of `file` that may meet `conditions`, for as long as they are taken;
/// whether they were.
fn read(
    file: &HistoryFile,
    count: u64,
    columns: &[usize],
    (schema, whole): (&SchemaRef, &SchemaRef),
    conditions: &Conditions,
    mut take: impl FnMut(RecordBatch) -> bool,
) -> DataFusionResult<bool> {
    let opened = file.open()?;
    file.check(&opened, whole)?;
    let groups = conditions.groups(&opened)?;
    if groups.is_empty() {
        return Ok(true);
    }
    let mut predicates = conditions.predicates(&opened)?;
    if count < file.count() {
        predicates.push(file.first_rows(&opened, count));
    }
    let mut in_file = columns.to_vec();
    in_file.sort_unstable();
    in_file.dedup();
    let places: Vec<usize> =
        columns.iter().map(|column| in_file.partition_point(|other| other < column)).collect();
    let mask = ProjectionMask::roots(opened.parquet_schema(), in_file);
    let opened = opened.with_row_groups(groups).with_projection(mask);
    let opened =
        if predicates.is_empty() { opened } else { opened.with_row_filter(RowFilter::new(predicates)) };
    for rows in file.batches(opened)? {
        let rows = crate::sql::catalog::recast(&rows?.project(&places)?, schema)?;
        if !take(rows) {
            return Ok(false);
        }
    }
    Ok(true)
}
