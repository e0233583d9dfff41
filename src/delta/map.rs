//! Rows filtered and projected, one by one.

use std::sync::Arc;

use timely::container::NoopBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::collection::Collection;
use super::expression::RowMap;
use super::operator::{Time, error_updates};
use super::stats::{Counters, Stopwatch};
use super::updates::Updates;

/// Each row of `input` put through `map`.
///
/// Multiplicity: that of the input. State: none, so late and retracted rows are rows like others. A
/// row that fails becomes an error with its diff, and is no error any more once retracted.
pub fn map<'scope, T: Time>(
    scope: Scope<'scope, T>,
    input: Collection<'scope, T>,
    map: RowMap,
    counters: Arc<Counters>,
) -> Collection<'scope, T> {
    let mut builder = OperatorBuilder::new("Map".to_owned(), scope);
    let (rows_out, rows) = builder.new_output::<Updates>();
    let (errors_out, errors) = builder.new_output::<Updates>();
    let mut handle = builder.new_input(input.rows, Pipeline);
    let mut rows_out = OutputBuilder::<T, NoopBuilder<Updates>>::from(rows_out);
    let mut errors_out = OutputBuilder::<T, NoopBuilder<Updates>>::from(errors_out);
    builder.build(move |_| {
        move |_frontiers| {
            let mut stopwatch = Stopwatch::new(&counters);
            handle.for_each(|capability, updates| {
                stopwatch.begin();
                let (mapped, failed) = map_updates(&map, updates);
                counters.took(updates.len());
                counters.gave(mapped.len());
                counters.failed(failed.len());
                if !mapped.is_empty() {
                    let mut mapped = mapped;
                    rows_out.activate().session_with_builder(&capability).give_container(&mut mapped);
                }
                for mut error in failed {
                    errors_out.activate().session_with_builder(&capability).give_container(&mut error);
                }
            });
        }
    });
    Collection { rows, errors: scope.concatenate([input.errors, errors]) }
}

/// The columns of `input` at `columns`, in that order.
pub fn project<'scope, T: Time>(
    scope: Scope<'scope, T>,
    input: Collection<'scope, T>,
    columns: &[usize],
    counters: Arc<Counters>,
) -> Collection<'scope, T> {
    let columns = columns.to_vec();
    let mut builder = OperatorBuilder::new("Project".to_owned(), scope);
    let (rows_out, rows) = builder.new_output::<Updates>();
    let mut handle = builder.new_input(input.rows, Pipeline);
    let mut rows_out = OutputBuilder::<T, NoopBuilder<Updates>>::from(rows_out);
    builder.build(move |_| {
        move |_frontiers| {
            handle.for_each(|capability, updates| {
                counters.gave(updates.len());
                updates.rows = updates.rows.project(&columns).expect("columns that the plan checked");
                rows_out.activate().session_with_builder(&capability).give_container(updates);
            });
        }
    });
    Collection { rows, errors: input.errors }
}

fn map_updates(map: &RowMap, updates: &Updates) -> (Updates, Vec<Updates>) {
    let mapped = map.apply(&updates.rows);
    let failed = mapped.failed.into_iter().map(|(index, message)| {
        error_updates(updates.times.get(index), vec![(message, updates.diffs.get(index))])
    });
    let failed = failed.collect();
    let (times, diffs) = match &mapped.kept {
        Some(kept) => (updates.times.filter(kept), updates.diffs.filter(kept)),
        None => (updates.times.clone(), updates.diffs.clone()),
    };
    (Updates { rows: mapped.rows, times, diffs }, failed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::Operator as Op;
    use datafusion::physical_expr::PhysicalExpr;
    use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
    use expect_test::expect;

    use super::*;
    use crate::delta::plan::Node;
    use crate::delta::testing::{Bag, batch, oracle, plan, render};
    use crate::delta::updates::Run;

    fn column(name: &str, index: usize) -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new(name, index))
    }

    fn number(value: i64) -> Arc<dyn PhysicalExpr> {
        Arc::new(Literal::new(ScalarValue::Int64(Some(value))))
    }

    /// `12 / n` and `s` where `n` is less than 4.
    fn ratio() -> RowMap {
        let less = BinaryExpr::new(column("n", 0), Op::Lt, number(4));
        let ratio = BinaryExpr::new(number(12), Op::Divide, column("n", 0));
        let fields = vec![Field::new("ratio", DataType::Int64, true), Field::new("s", DataType::Utf8, true)];
        RowMap {
            predicate: Some(Arc::new(less)),
            projection: Some(vec![Arc::new(ratio), column("s", 1)]),
            schema: Arc::new(Schema::new(fields)),
        }
    }

    #[test]
    fn a_row_that_fails_does_so_alone() {
        let rows = batch(&[(3, "a"), (0, "b"), (9, "c"), (4, "d"), (2, "e")]);
        let diffs = Run::Each([1, -1, 1, 1, 2].into());
        let (mapped, failed) = map_updates(&ratio(), &Updates::at(rows, 7, diffs));
        expect![[r#"
            4 a @7 +1
            6 e @7 +2
        "#]]
        .assert_eq(&render(&[mapped]));
        expect![[r#"
            Arrow error: Divide by zero error @7 -1
        "#]]
        .assert_eq(&render(&failed));
        // Filtered out, the same row is not computed at all.
        let (mapped, failed) = map_updates(&ratio(), &Updates::insert(batch(&[(9, "c")]), 8));
        assert!(mapped.is_empty() && failed.is_empty());
    }

    #[test]
    fn equals_recomputation() {
        let mut map = ratio();
        map.projection = Some(vec![column("n", 0), column("s", 1)]);
        let schema = map.schema.clone();
        oracle(&plan(1, vec![(Node::Map { input: 0, map }, schema)]), 1, true, |inputs, _| {
            let mut bag = Bag::new();
            for (n, s, _) in inputs[0].iter().filter(|row| row.0.is_some_and(|n| n < 4)) {
                *bag.entry(vec![n.unwrap().to_string(), s.clone()]).or_default() += 1;
            }
            bag
        });
    }
}
