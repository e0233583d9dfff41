//! Rows filtered and projected, one by one.

use timely::container::NoopBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::collection::Collection;
use super::expression::RowMap;
use super::operator::error_updates;
use super::updates::{Tick, Updates};

/// Each row of `input` put through `map`.
///
/// Multiplicity: that of the input. State: none, so late and retracted rows are rows like others. A
/// row that fails becomes an error with its diff, and is no error any more once retracted.
pub fn map<'scope>(scope: Scope<'scope, Tick>, input: Collection<'scope>, map: RowMap) -> Collection<'scope> {
    let mut builder = OperatorBuilder::new("Map".to_owned(), scope);
    let (rows_out, rows) = builder.new_output::<Updates>();
    let (errors_out, errors) = builder.new_output::<Updates>();
    let mut handle = builder.new_input(input.rows, Pipeline);
    let mut rows_out = OutputBuilder::<_, NoopBuilder<Updates>>::from(rows_out);
    let mut errors_out = OutputBuilder::<_, NoopBuilder<Updates>>::from(errors_out);
    builder.build(move |_| {
        move |_frontiers| {
            handle.for_each(|capability, updates| {
                let (mapped, failed) = map_updates(&map, updates);
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
pub fn project<'scope>(
    scope: Scope<'scope, Tick>,
    input: Collection<'scope>,
    columns: &[usize],
) -> Collection<'scope> {
    let columns = columns.to_vec();
    let mut builder = OperatorBuilder::new("Project".to_owned(), scope);
    let (rows_out, rows) = builder.new_output::<Updates>();
    let mut handle = builder.new_input(input.rows, Pipeline);
    let mut rows_out = OutputBuilder::<_, NoopBuilder<Updates>>::from(rows_out);
    builder.build(move |_| {
        move |_frontiers| {
            handle.for_each(|capability, updates| {
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
