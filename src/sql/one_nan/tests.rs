use arrow::array::{Float64Array, RecordBatch};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::*;

/// A session with the rule, over a table of all pairs of some floats in batches of `batch_rows`.
fn context(batch_rows: usize) -> SessionContext {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    context.add_analyzer_rule(Arc::new(OneNan));
    let floats = [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.0, -2.5];
    let pairs: Vec<(f64, f64)> = floats.iter().flat_map(|x| floats.map(|y| (*x, y))).collect();
    let batch = |pairs: &[(f64, f64)]| {
        let columns: [(&str, ArrayRef); 2] = [
            ("x", Arc::new(pairs.iter().map(|pair| Some(pair.0)).collect::<Float64Array>())),
            ("y", Arc::new(pairs.iter().map(|pair| Some(pair.1)).collect::<Float64Array>())),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    };
    let batches: Vec<RecordBatch> = pairs.chunks(batch_rows).map(batch).collect();
    let table = MemTable::try_new(batches[0].schema(), vec![batches]).unwrap();
    context.register_table("t", Arc::new(table)).unwrap();
    context
}

async fn column(sql: &str, batch_rows: usize) -> Vec<ArrayRef> {
    let batches = context(batch_rows).sql(sql).await.unwrap().collect().await.unwrap();
    batches.iter().map(|batch| batch.column(0).clone()).collect()
}

#[tokio::test]
async fn all_nans_of_arithmetic_have_the_same_bits() {
    for expression in
        ["x + y", "x - y", "x * y", "x / y", "x % y", "-x", "(x + x) + (-y)", "x * 0.0", "x / 0", "x % 2"]
    {
        for batch_rows in [1, 3, 64] {
            let mut nans = 0;
            for values in column(&format!("SELECT {expression} FROM t"), batch_rows).await {
                for value in values.as_primitive::<Float64Type>().values().iter().filter(|v| v.is_nan()) {
                    assert_eq!(value.to_bits(), f64::NAN.to_bits(), "{expression}");
                    nans += 1;
                }
            }
            assert!(nans > 7, "{expression}");
        }
    }
}

#[tokio::test]
async fn a_nan_is_greater_than_any_number() {
    let sql = "SELECT (x - y) > 'inf'::double FROM t WHERE isnan(x - y)";
    let greater: Vec<bool> = column(sql, 64)
        .await
        .iter()
        .flat_map(|part| part.as_boolean().iter().flatten().collect::<Vec<_>>())
        .collect();
    assert_eq!(greater.len(), 64 - 6 * 6 + 2);
    assert!(greater.iter().all(|is_greater| *is_greater));
}

#[tokio::test]
async fn names_stay_and_a_second_look_changes_nothing() {
    let context = context(64);
    let plan = context
        .sql("SELECT x + y, sum(x * y) FILTER (WHERE x * y IN (x, y)) FROM t GROUP BY x + y, x")
        .await
        .unwrap();
    let plan = plan.into_unoptimized_plan();
    let names = plan.schema().field_names();
    let once = OneNan.analyze(plan, &ConfigOptions::default()).unwrap();
    assert_eq!(once.schema().field_names(), names);
    let twice = OneNan.analyze(once.clone(), &ConfigOptions::default()).unwrap();
    assert_eq!(format!("{once:?}"), format!("{twice:?}"));
}
