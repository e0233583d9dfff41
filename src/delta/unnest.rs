//! Rows made of the elements of lists and the fields of structs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use datafusion::common::UnnestOptions;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::unnest::{ListUnnest, UnnestExec};
use futures::StreamExt;
use timely::container::NoopBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::collection::Collection;
use super::expression::message;
use super::operator::{Time, error_updates};
use super::stats::{Counters, Stopwatch};
use super::updates::Updates;

/// An unnesting, as written in a plan.
#[derive(Clone, Debug)]
pub struct UnnestSpec {
    /// Columns of lists that become rows, each with how many levels of lists are taken apart.
    pub lists: Vec<ListUnnest>,
    /// Columns of structs that become columns.
    pub structs: Vec<usize>,
    /// What becomes of null and of empty lists.
    pub options: UnnestOptions,
    /// The schema of the result.
    pub schema: SchemaRef,
}

/// The name of the column that tells which row of the input a row of the result stems from.
const ROW: &str = "#row";

/// A row for each element of the lists of each row of `input`, the shorter lists filled up with nulls; the fields of
/// structs in the place of these.
///
/// Multiplicity: that of the input's row. State: none, so late and retracted rows are rows like others. It is
/// DataFusion's own operator that runs, so that nulls and empty lists are treated as in a batch query. A row that cannot
/// be unnested is an error with its diff.
pub fn unnest<'scope, T: Time>(
    scope: Scope<'scope, T>,
    input: Collection<'scope, T>,
    spec: UnnestSpec,
    counters: Arc<Counters>,
) -> Collection<'scope, T> {
    let mut builder = OperatorBuilder::new("Unnest".to_owned(), scope);
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
                let (parts, failed) = unnest_updates(&spec, updates);
                counters.took(updates.len());
                counters.gave(parts.iter().map(Updates::len).sum());
                counters.failed(failed.len());
                for mut part in parts {
                    rows_out.activate().session_with_builder(&capability).give_container(&mut part);
                }
                for mut error in failed {
                    errors_out.activate().session_with_builder(&capability).give_container(&mut error);
                }
            });
        }
    });
    Collection { rows, errors: scope.concatenate([input.errors, errors]) }
}

/// The rows made of `updates`, in portions, and the errors of those that fail.
fn unnest_updates(spec: &UnnestSpec, updates: &Updates) -> (Vec<Updates>, Vec<Updates>) {
    if let Ok(parts) = unnest_batch(spec, updates) {
        return (parts, vec![]);
    }
    let (mut parts, mut failed) = (vec![], vec![]);
    for row in 0..updates.len() as u32 {
        let one = updates.take(&[row]);
        match unnest_batch(spec, &one) {
            Ok(made) => parts.extend(made),
            Err(error) => {
                failed.push(error_updates(one.times.get(0), vec![(message(&error), one.diffs.get(0))]));
            }
        }
    }
    (parts, failed)
}

fn unnest_batch(spec: &UnnestSpec, updates: &Updates) -> DataFusionResult<Vec<Updates>> {
    if updates.is_empty() {
        return Ok(vec![]);
    }
    let rows = numbered(&updates.rows)?;
    let source = MemorySourceConfig::try_new_exec(&[vec![rows.clone()]], rows.schema(), None)?;
    let schema = with_row(&spec.schema);
    let (lists, structs) = (spec.lists.clone(), spec.structs.clone());
    let operator = UnnestExec::new(source, lists, structs, schema, spec.options.clone())?;
    let mut stream = operator.execute(0, Arc::new(TaskContext::default()))?;
    let mut parts = vec![];
    // Its input is in memory: it never waits.
    while let Some(made) = futures::executor::block_on(stream.next()) {
        let made = made?;
        let picks = made.column(spec.schema.fields().len()).as_primitive::<UInt32Type>().values().to_vec();
        let columns: Vec<usize> = (0..spec.schema.fields().len()).collect();
        let rows = made.project(&columns)?;
        parts.push(Updates { rows, times: updates.times.take(&picks), diffs: updates.diffs.take(&picks) });
    }
    Ok(parts)
}

/// `rows` with the number of each in a last column.
fn numbered(rows: &RecordBatch) -> DataFusionResult<RecordBatch> {
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    columns.push(Arc::new(UInt32Array::from_iter_values(0..rows.num_rows() as u32)) as Arc<dyn Array>);
    Ok(RecordBatch::try_new(with_row(rows.schema_ref()), columns)?)
}

fn with_row(schema: &SchemaRef) -> SchemaRef {
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new(ROW, DataType::UInt32, true)));
    Arc::new(Schema::new(fields))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Builder, ListBuilder};
    use datafusion::common::NullHandling;
    use expect_test::expect;

    use super::*;
    use crate::delta::testing::render;
    use crate::delta::updates::Run;

    /// Rows of a number and a list of numbers.
    fn lists(rows: &[(i64, Option<&[i64]>)]) -> RecordBatch {
        let mut lists = ListBuilder::new(Int64Builder::new());
        for (_, list) in rows {
            lists.append_option(list.map(|l| l.iter().copied().map(Some)));
        }
        let n = arrow::array::Int64Array::from_iter_values(rows.iter().map(|r| r.0));
        RecordBatch::try_from_iter_with_nullable([
            ("n", Arc::new(n) as ArrayRef, true),
            ("list", Arc::new(lists.finish()) as ArrayRef, true),
        ])
        .unwrap()
    }

    fn spec(null_handling: NullHandling) -> UnnestSpec {
        let fields = vec![Field::new("n", DataType::Int64, true), Field::new("list", DataType::Int64, true)];
        UnnestSpec {
            lists: vec![ListUnnest { index_in_input_schema: 1, depth: 1 }],
            structs: vec![],
            options: UnnestOptions { null_handling, ..UnnestOptions::default() },
            schema: Arc::new(Schema::new(fields)),
        }
    }

    #[test]
    fn each_element_has_the_time_and_the_diff_of_its_row() {
        let rows = lists(&[(1, Some(&[5, 6])), (2, None), (3, Some(&[])), (4, Some(&[7]))]);
        let updates =
            Updates { rows, times: Run::Each([7, 7, 8, 9].into()), diffs: Run::Each([1, -1, 1, -2].into()) };
        let (parts, failed) = unnest_updates(&spec(NullHandling::Preserve), &updates);
        assert!(failed.is_empty());
        expect![[r#"
            1 5 @7 +1
            1 6 @7 +1
            2 null @7 -1
            4 7 @9 -2
        "#]]
        .assert_eq(&render(&parts));
        let (parts, _) = unnest_updates(&spec(NullHandling::Drop), &updates);
        expect![[r#"
            1 5 @7 +1
            1 6 @7 +1
            4 7 @9 -2
        "#]]
        .assert_eq(&render(&parts));
    }

    #[test]
    fn a_long_list_comes_in_portions() {
        let long: Vec<i64> = (0..20_000).collect();
        let updates = Updates::insert(lists(&[(1, Some(&long)), (2, Some(&[1]))]), 3);
        let (parts, _) = unnest_updates(&spec(NullHandling::Preserve), &updates);
        assert!(parts.len() > 1 && parts.iter().all(|p| p.len() <= 8192));
        assert_eq!(parts.iter().map(Updates::len).sum::<usize>(), 20_001);
    }
}
