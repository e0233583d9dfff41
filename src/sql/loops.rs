//! Joins by nested loops in a batch query, without the mode in which they are wrong.
//!
//! Where memory is short, DataFusion's nested-loop join goes over its left rows in portions, in each partition of the right
//! side for itself: a left row that has a partner in one partition then stands beside nulls in another as well. With one
//! partition that is right.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, ExecutionPlan, ExecutionPlanProperties, ReplaceChildrenOptions,
};

/// Gives nested-loop joins that tell left rows without a partner one partition on the right.
pub(super) fn join_one_partition(
    plan: Arc<dyn ExecutionPlan>,
) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() else { return Ok(Transformed::no(plan)) };
    let tells_left = matches!(
        join.join_type(),
        JoinType::Left | JoinType::Full | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark
    );
    if !tells_left || join.right().output_partitioning().partition_count() == 1 {
        return Ok(Transformed::no(plan));
    }
    let right = Arc::new(CoalescePartitionsExec::new(Arc::clone(join.right())));
    let children: Vec<Arc<dyn ExecutionPlan>> = vec![Arc::clone(join.left()), right];
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Ok(Transformed::yes(plan.replace_children(children, options)?))
}
