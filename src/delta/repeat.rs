//! Rows as often as they say themselves.

use std::sync::Arc;

use arrow::array::{Array, Int64Array};
use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;

use super::collection::{Collection, Edge};
use super::operator::Time;
use super::stats::Counters;
use super::updates::{Run, Updates};

/// Each row of `input` as often as its last column says, an `Int64`, and without that column; not at all where it
/// is null or below one. Errors stay as they are. Keeps no state: late and retracted rows are rows like others.
pub fn repeat<'scope, T: Time>(
    input: Collection<'scope, T>,
    counters: Arc<Counters>,
) -> Collection<'scope, T> {
    let rows: Edge<'scope, T> =
        input.rows.unary::<NoopBuilder<Updates>, _, _, _>(Pipeline, "Repeat", |_, _| {
            move |input, output| {
                input.for_each(|capability, updates| {
                    let mut repeated = repeat_updates(updates);
                    counters.took(updates.len());
                    counters.gave(repeated.len());
                    if !repeated.is_empty() {
                        output.session_with_builder(&capability).give_container(&mut repeated);
                    }
                });
            }
        });
    Collection { rows, errors: input.errors }
}

fn repeat_updates(updates: &Updates) -> Updates {
    let columns: Vec<usize> = (0..updates.rows.num_columns() - 1).collect();
    let times = updates.rows.column(columns.len());
    let times: &Int64Array = times.as_any().downcast_ref().expect("a column of numbers, as the plan says");
    let picks: Vec<u32> =
        (0..updates.len()).filter(|i| times.is_valid(*i) && times.value(*i) > 0).map(|i| i as u32).collect();
    let mut kept = updates.take(&picks);
    let diffs = picks.iter().map(|i| updates.diffs.get(*i as usize) * times.value(*i as usize));
    kept.diffs = Run::from_vec(diffs.collect());
    kept.rows = kept.rows.project(&columns).expect("columns of the batch");
    kept
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::physical_expr::expressions::Column;

    use crate::delta::expression::RowMap;
    use crate::delta::plan::Node;
    use crate::delta::testing::{Bag, oracle, plan, row_texts, schema};

    #[test]
    fn equals_recomputation() {
        let order = [1, 2, 0];
        let repeated = Arc::new(schema().project(&order).unwrap());
        let column = |i: &usize| Arc::new(Column::new(schema().field(*i).name(), *i)) as _;
        let projection = Some(order.iter().map(column).collect());
        let map = RowMap { predicate: None, projection, schema: repeated.clone() };
        let result = Arc::new(schema().project(&[1, 2]).unwrap());
        let nodes = vec![(Node::Map { input: 0, map }, repeated), (Node::Repeat(1), result)];
        oracle(&plan(1, nodes), 1, true, |inputs, _| {
            let mut expected = Bag::new();
            for row in inputs[0].iter().filter(|row| row.0 > Some(0)) {
                *expected.entry(row_texts(row)[1..].to_vec()).or_default() += row.0.unwrap();
            }
            expected
        });
    }
}
