//! WITH RECURSIVE in a batch query, as it is in a view.
//!
//! DataFusion runs the rounds. Which rows of a round are new it finds by their numbers, taken to ascend, which those of
//! rows with equal hashes (nulls do not count in a hash) do not: it would lose rows. And it goes on for ever. So its
//! rows are seen here first, which leaves what is new, and ends it with an error beyond [`ROUNDS_MAX`] and [`ROWS_MAX`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{BatchCoalescer, filter_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::stream::{BoxStream, try_unfold};
use futures::{Stream, StreamExt};

use super::error::SqlError;
use crate::delta::keys::{Keys, firsts, with_one_zero};
use crate::delta::recursion::{ROUNDS_MAX, ROWS_MAX, endless, too_many};

/// Puts [`Rounds`] over both terms of each recursive query.
pub(super) fn check_rounds(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(query) = plan.downcast_ref::<RecursiveQueryExec>() else { return Ok(Transformed::no(plan)) };
    let progress: Arc<Mutex<Progress>> = Arc::default();
    let rounds = |input: &Arc<dyn ExecutionPlan>, is_first| {
        let (input, progress) = (Arc::clone(input), Arc::clone(&progress));
        Arc::new(Rounds { input, is_first, is_distinct: query.is_distinct(), progress })
    };
    let checked = RecursiveQueryExec::try_new(
        query.name().to_owned(),
        query.schema(),
        rounds(query.static_term(), true),
        rounds(query.recursive_term(), false),
        false,
    )?;
    Ok(Transformed::yes(Arc::new(checked)))
}

/// The name of the recursive query whose rows of the round before `scan` reads, if it does.
pub fn work_table(scan: &TableScan) -> Option<String> {
    let provider = source_as_provider(&scan.source).ok()?;
    Some(provider.downcast_ref::<CteWorkTable>()?.name().to_owned())
}

/// Refuses recursive queries that read themselves in a subquery, which DataFusion plans as if they were not recursive.
pub fn refuse_in_subqueries(plan: &LogicalPlan) -> std::result::Result<(), SqlError> {
    fn find(plan: &LogicalPlan, open: &[&str]) -> Result<Option<String>> {
        if let LogicalPlan::TableScan(scan) = plan {
            return Ok(work_table(scan).filter(|name| !open.contains(&name.as_str())));
        }
        let mut found = None;
        plan.apply_subqueries(|subquery| {
            found = find(subquery, open)?;
            Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        let within: Vec<&str> = match plan {
            LogicalPlan::RecursiveQuery(query) => open.iter().copied().chain([query.name.as_str()]).collect(),
            _ => open.to_vec(),
        };
        for input in plan.inputs() {
            found = found.map_or_else(|| find(input, &within), |found| Ok(Some(found)))?;
        }
        Ok(found)
    }
    match find(plan, &[])? {
        None => Ok(()),
        Some(name) => Err(SqlError::Syntax(format!(
            "the recursive query \"{name}\" reads itself in a subquery; join it instead"
        ))),
    }
}

/// How far a recursive query is.
#[derive(Default)]
struct Progress {
    round: u32,
    rows: i64,
    /// The rows of all rounds so far, where each counts once, and the memory that they take.
    seen: Option<(Keys, MemoryReservation)>,
}

/// The rows of one term, round by round; with `is_distinct` those that no round had before, once each.
struct Rounds {
    input: Arc<dyn ExecutionPlan>,
    /// Whether it is the term of round 0.
    is_first: bool,
    is_distinct: bool,
    progress: Arc<Mutex<Progress>>,
}

impl Rounds {
    /// A round begins.
    fn begin(&self, context: &TaskContext) -> Result<u32> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        match self.is_first {
            false => progress.round += 1,
            true => {
                *progress = Progress::default();
                if self.is_distinct {
                    let memory = MemoryConsumer::new("Recursion").register(context.memory_pool());
                    progress.seen = Some((Keys::new(self.input.schema())?, memory));
                }
            }
        }
        Ok(progress.round)
    }
}

/// What `rows` of `round` add.
fn new_rows(progress: &Mutex<Progress>, round: u32, rows: RecordBatch) -> Result<RecordBatch> {
    let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
    let rows = match &mut progress.seen {
        None => rows,
        Some((keys, memory)) => {
            let columns = rows.num_columns();
            let rows = with_one_zero(rows, columns);
            let (known, mut numbers) = (keys.count(), vec![]);
            keys.number(rows.columns(), rows.num_rows(), &mut numbers)?;
            memory.try_resize(keys.bytes())?;
            let is_new: BooleanArray = firsts(&numbers, known).map(Some).collect();
            filter_record_batch(&rows, &is_new)?
        }
    };
    progress.rows += rows.num_rows() as i64;
    match round > ROUNDS_MAX && rows.num_rows() > 0 {
        true => Err(DataFusionError::Execution(endless(ROUNDS_MAX))),
        false if progress.rows > ROWS_MAX => Err(DataFusionError::Execution(too_many(ROWS_MAX))),
        false => Ok(rows),
    }
}

/// `rows` in batches of a good size: a join of few rows a round with others gives very many very small ones.
fn coalesced(
    rows: BoxStream<'static, Result<RecordBatch>>,
    coalescer: BatchCoalescer,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    try_unfold((rows, coalescer), async |(mut rows, mut coalescer)| {
        loop {
            if let Some(batch) = coalescer.next_completed_batch() {
                return Ok(Some((batch, (rows, coalescer))));
            }
            match rows.next().await {
                Some(batch) => coalescer.push_batch(batch?)?,
                None => {
                    coalescer.finish_buffered_batch()?;
                    return Ok(coalescer.next_completed_batch().map(|batch| (batch, (rows, coalescer))));
                }
            }
        }
    })
}

impl fmt::Debug for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Rounds").field("is_first", &self.is_first).finish_non_exhaustive()
    }
}

impl DisplayAs for Rounds {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Rounds: is_distinct={}", self.is_distinct)
    }
}

impl ExecutionPlan for Rounds {
    fn name(&self) -> &str {
        "Rounds"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    /// The progress stays: DataFusion renews the recursive term for each round.
    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (input, progress) = (children.swap_remove(0), Arc::clone(&self.progress));
        Ok(Arc::new(Rounds { input, is_first: self.is_first, is_distinct: self.is_distinct, progress }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options =
            ReplaceChildrenOptions::new(datafusion::physical_plan::ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let round = self.begin(&context)?;
        let (schema, progress): (SchemaRef, _) = (self.schema(), Arc::clone(&self.progress));
        let coalescer = BatchCoalescer::new(Arc::clone(&schema), context.session_config().batch_size());
        let rows = self.input.execute(partition, context)?;
        let rows = rows.map(move |rows| new_rows(&progress, round, rows?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, coalesced(Box::pin(rows.fuse()), coalescer))))
    }
}
