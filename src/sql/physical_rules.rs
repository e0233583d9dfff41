//! The rules by which a batch query's physical plan is made: DataFusion's without those that fail, and ours.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::context::SessionState;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::ensure_requirements::EnsureRequirements;
use datafusion::physical_plan::ExecutionPlan;

use super::{loops, padding, recursion};

/// DataFusion's rules that fail, and would save next to nothing on rows that are in memory: the first answers an
/// aggregate over an aggregate from statistics, and loses columns on the way; the others move filters below joins and
/// projections, where some keep rows that they should not or are about other columns.
const FAILING: [&str; 3] = ["aggregate_statistics", "FilterPushdown", "FilterPushdown(Post)"];

/// The rules for `state`.
pub(super) fn of(state: &SessionState) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = vec![];
    let mut has_ensured = false;
    for rule in state.physical_optimizers() {
        if FAILING.contains(&rule.name()) {
            continue;
        }
        if rule.name() == "EnsureRequirements" {
            rules.push(Arc::new(EachNode { name: "forget_constants", rewrite: padding::forget_constants }));
        }
        rules.push(rule.clone());
        // Moves expressions below a join, above which it is not known any more that a column is constant: what was
        // not sorted for that reason is sorted now, while the order asked for is still part of the plan.
        if rule.name() == "ProjectionPushdown" && !has_ensured {
            rules.push(Arc::new(EnsureRequirements::new()));
            has_ensured = true;
        }
    }
    rules.push(Arc::new(EachNode { name: "join_one_partition", rewrite: loops::join_one_partition }));
    rules.push(Arc::new(EachNode { name: "check_rounds", rewrite: recursion::check_rounds }));
    rules
}

/// A node, or what takes its place.
type Rewritten = Result<Transformed<Arc<dyn ExecutionPlan>>>;

/// A rule that looks at one node at a time, those below before those above.
#[derive(Debug)]
struct EachNode {
    name: &'static str,
    rewrite: fn(Arc<dyn ExecutionPlan>) -> Rewritten,
}

impl PhysicalOptimizerRule for EachNode {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(self.rewrite).data()
    }

    fn name(&self) -> &str {
        self.name
    }

    fn schema_check(&self) -> bool {
        true
    }
}
