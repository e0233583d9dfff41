use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::functions_aggregate::all_default_aggregate_functions;
use datafusion::prelude::{SessionConfig, SessionContext};
use expect_test::{Expect, expect};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::*;

const ALL: &str = "sum(x), avg(x), var(x), var_pop(x), stddev(x), stddev_pop(x), \
    approx_percentile(x, 0.5), approx_percentile(x, 0.99, 0.001), \
    sum(x) FILTER (WHERE x > 0), avg(x) FILTER (WHERE k % 2 = 0), var(x) FILTER (WHERE x < 0), \
    approx_percentile(x, 0) FILTER (WHERE x > 1), approx_percentile(x, 1)";

fn context(partitions: usize) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(100);
    // Many groups then reach the final aggregate row by row, as states of one value.
    config.options_mut().execution.skip_partial_aggregation_probe_rows_threshold = 200;
    let context = SessionContext::new_with_config(config);
    register(&context);
    context
}

async fn query(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>> {
    context.sql(sql).await?.collect().await
}

async fn table(sql: &str) -> String {
    match query(&context(2), sql).await {
        Ok(batches) => pretty_format_batches(&batches).unwrap().to_string(),
        Err(error) => error.strip_backtrace(),
    }
}

async fn check(sql: &str, expected: Expect) {
    expected.assert_eq(&table(sql).await);
}

/// Rows as bit patterns, in the order of the first column.
async fn bits(context: &SessionContext, sql: &str) -> Vec<Vec<Option<u64>>> {
    let mut rows = Vec::new();
    for batch in query(context, sql).await.unwrap() {
        for row in 0..batch.num_rows() {
            let cell = |column: &ArrayRef| match column.as_any().downcast_ref::<Float64Array>() {
                Some(floats) => floats.iter().nth(row).flatten().map(f64::to_bits),
                None => column.as_any().downcast_ref::<Int64Array>()?.iter().nth(row)?.map(|k| k as u64),
            };
            rows.push(batch.columns().iter().map(cell).collect());
        }
    }
    rows.sort_unstable();
    rows
}

/// Rows `k`, `x` in as many partitions and batches as given.
fn with_rows(context: &SessionContext, rows: &[(i64, Option<f64>)], partitions: usize, batch_rows: usize) {
    let schema =
        Schema::new(vec![Field::new("k", DataType::Int64, false), Field::new("x", DataType::Float64, true)]);
    let schema = Arc::new(schema);
    let batch = |rows: &[(i64, Option<f64>)]| {
        let keys: Int64Array = rows.iter().map(|(k, _)| Some(*k)).collect();
        let values: Float64Array = rows.iter().map(|(_, x)| *x).collect();
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(keys), Arc::new(values)]).unwrap()
    };
    let mut split = vec![Vec::new(); partitions];
    for (index, rows) in rows.chunks(batch_rows).enumerate() {
        split[index % partitions].push(batch(rows));
    }
    let table = MemTable::try_new(Arc::clone(&schema), split).unwrap();
    drop(context.register_table("t", Arc::new(table)).unwrap());
}

/// Values whose rounded sums depend on order, with nulls and zeros among them.
fn any_value(random: &mut StdRng) -> Option<f64> {
    match random.random_range(0..8) {
        0 => None,
        1 => Some(-0.0),
        2 => Some(random.random_range(-4..4).into()),
        3 => Some((random.random::<f64>() * 200.0 - 100.0).exp()),
        _ => Some(random.random::<f64>() * 1e3 - 300.0),
    }
}

#[tokio::test]
async fn few_rows() {
    let rows = "(VALUES (1, 0.1), (1, 0.2), (1, 0.3), (2, 5.0), (3, NULL)) AS t(k, x)";
    let sql = format!("SELECT k, sum(x), avg(x), var(x), var_pop(x), stddev(x), stddev_pop(x) FROM {rows}");
    check(&format!("{sql} GROUP BY k ORDER BY k"), expect![[r#"
        +---+----------+----------+----------------------+----------------------+---------------------+--------------------+
        | k | sum(t.x) | avg(t.x) | var(t.x)             | var_pop(t.x)         | stddev(t.x)         | stddev_pop(t.x)    |
        +---+----------+----------+----------------------+----------------------+---------------------+--------------------+
        | 1 | 0.6      | 0.2      | 0.009999999999999998 | 0.006666666666666665 | 0.09999999999999999 | 0.0816496580927726 |
        | 2 | 5.0      | 5.0      |                      | 0.0                  |                     | 0.0                |
        | 3 |          |          |                      |                      |                     |                    |
        +---+----------+----------+----------------------+----------------------+---------------------+--------------------+"#]]).await;
    let sql = format!(
        "SELECT k, sum(x) FILTER (WHERE x < 0.25) AS small, approx_percentile(x, 0.5) AS p50, \
         approx_percentile(x, 1, 1e-6) AS p100 FROM {rows} GROUP BY k ORDER BY k"
    );
    check(
        &sql,
        expect![[r#"
        +---+---------------------+--------------------+--------------------+
        | k | small               | p50                | p100               |
        +---+---------------------+--------------------+--------------------+
        | 1 | 0.30000000000000004 | 0.1998668923232042 | 0.2999999412975161 |
        | 2 |                     | 5.002829575110742  | 4.999995437831762  |
        | 3 |                     |                    |                    |
        +---+---------------------+--------------------+--------------------+"#]],
    )
    .await;
}

#[tokio::test]
async fn no_rows() {
    check(
        "SELECT sum(x), avg(x), var(x), stddev_pop(x), approx_percentile(x, 0.5), sum(DISTINCT x) \
         FROM (SELECT 1.5 AS x) WHERE x > 2",
        expect![[r#"
            +--------+--------+--------+---------------+-----------------------------------+-----------------+
            | sum(x) | avg(x) | var(x) | stddev_pop(x) | approx_percentile(x,Float64(0.5)) | sum(DISTINCT x) |
            +--------+--------+--------+---------------+-----------------------------------+-----------------+
            |        |        |        |               |                                   |                 |
            +--------+--------+--------+---------------+-----------------------------------+-----------------+"#]],
    )
    .await;
}

#[tokio::test]
async fn distinct_values() {
    check(
        "SELECT sum(DISTINCT x) AS s, avg(DISTINCT x) AS a, var(DISTINCT x) AS v, stddev(DISTINCT x) AS d, \
         approx_percentile(DISTINCT x, 0.5) AS p, avg(x) AS plain, \
         sum(DISTINCT x) FILTER (WHERE x < 2) AS f \
         FROM (VALUES (0.0), (-0.0), (0.1), (0.1), (3.0), (3.0), (3.0), (NULL)) AS t(x)",
        expect![[r#"
            +-----+--------------------+--------------------+--------------------+---------------------+--------------------+-----+
            | s   | a                  | v                  | d                  | p                   | plain              | f   |
            +-----+--------------------+--------------------+--------------------+---------------------+--------------------+-----+
            | 3.1 | 1.0333333333333334 | 2.9033333333333333 | 1.7039170558842744 | 0.09924864547445636 | 1.3142857142857143 | 0.1 |
            +-----+--------------------+--------------------+--------------------+---------------------+--------------------+-----+"#]],
    )
    .await;
    check(
        "SELECT avg(DISTINCT x) AS a FROM (VALUES (0.0), (-0.0), (3.0), (3.0)) AS t(x)",
        expect![[r#"
        +-----+
        | a   |
        +-----+
        | 1.5 |
        +-----+"#]],
    )
    .await;
}

#[tokio::test]
async fn values_that_are_not_finite() {
    check(
        "SELECT k, sum(x), avg(x), var(x), approx_percentile(x, 0), approx_percentile(x, 1) FROM (VALUES \
         (1, DOUBLE 'NaN'), (1, DOUBLE 'Infinity'), (1, 1.0), (2, DOUBLE 'Infinity'), (2, 1.0), \
         (3, DOUBLE 'Infinity'), (3, DOUBLE '-Infinity'), (4, DOUBLE '1e308'), (4, DOUBLE '1e308')) AS t(k, x) \
         GROUP BY k ORDER BY k",
        expect![[r#"
            +---+----------+----------+----------+---------------------------------+---------------------------------+
            | k | sum(t.x) | avg(t.x) | var(t.x) | approx_percentile(t.x,Int64(0)) | approx_percentile(t.x,Int64(1)) |
            +---+----------+----------+----------+---------------------------------+---------------------------------+
            | 1 | NaN      | NaN      | NaN      | 0.99                            | NaN                             |
            | 2 | inf      | inf      | NaN      | 0.99                            | inf                             |
            | 3 | NaN      | NaN      | NaN      | -inf                            | inf                             |
            | 4 | inf      | 1e308    | 0.0      | 9.973851983400917e307           | 9.973851983400917e307           |
            +---+----------+----------+----------+---------------------------------+---------------------------------+"#]],
    )
    .await;
}

#[tokio::test]
async fn extrema_follow_the_order_of_order_by() {
    check(
        "SELECT k, min(x), max(x), arrow_typeof(max(arrow_cast(x, 'Float32'))) AS t, \
         max(arrow_cast(x, 'Float32')) FILTER (WHERE x < 2) AS narrow FROM (VALUES \
         (1, DOUBLE '-Infinity'), (2, 0.0), (2, DOUBLE '-0.0'), (3, 1.5), (3, DOUBLE 'NaN'), (3, -2.5), \
         (4, NULL), (5, 0.1)) AS t(k, x) GROUP BY k ORDER BY k",
        expect![[r#"
            +---+----------+----------+---------+--------+
            | k | min(t.x) | max(t.x) | t       | narrow |
            +---+----------+----------+---------+--------+
            | 1 | -inf     | -inf     | Float32 | -inf   |
            | 2 | -0.0     | 0.0      | Float32 | 0.0    |
            | 3 | -2.5     | NaN      | Float32 | 1.5    |
            | 4 |          |          | Float32 |        |
            | 5 | 0.1      | 0.1      | Float32 | 0.1    |
            +---+----------+----------+---------+--------+"#]],
    )
    .await;
}

#[tokio::test]
async fn numbers_of_all_types_have_percentiles() {
    check(
        "SELECT approx_percentile(i, 0.5) AS int, approx_percentile(arrow_cast(i, 'UInt8'), 1) AS byte, \
         approx_percentile(arrow_cast(i, 'Float32'), 0.5e0) AS float, \
         approx_percentile(i::decimal(9, 2), 0.51) AS decimal, \
         arrow_typeof(approx_percentile(i, 0.5)) AS type FROM (VALUES (10), (20), (30)) AS t(i)",
        expect![[r#"
            +-------------------+--------------------+-------------------+-------------------+---------+
            | int               | byte               | float             | decimal           | type    |
            +-------------------+--------------------+-------------------+-------------------+---------+
            | 19.88667024086647 | 30.267171338722385 | 19.88667024086647 | 19.88667024086647 | Float64 |
            +-------------------+--------------------+-------------------+-------------------+---------+"#]],
    )
    .await;
}

#[tokio::test]
async fn arguments_out_of_range() {
    for (arguments, expected) in [
        ("x, 1.5", expect![[r#"Error during planning: percentile "1.5" is not between 0 and 1"#]]),
        ("x, -0.1", expect![[r#"Error during planning: percentile "-0.1" is not between 0 and 1"#]]),
        ("x, NULL", expect![[r#"Error during planning: percentile "NULL" is not between 0 and 1"#]]),
        ("x, x", expect![[r#"Error during planning: percentile "x@0" is not a literal between 0 and 1"#]]),
        (
            "x, 0.5, 0",
            expect![[r#"Error during planning: relative error "0" is not between 0.000001 and 0.5"#]],
        ),
        (
            "x, 0.5, 0.6",
            expect![[r#"Error during planning: relative error "0.6" is not between 0.000001 and 0.5"#]],
        ),
        (
            "x, 0.5, x",
            expect![[
                r#"Error during planning: relative error "x@0" is not a literal between 0.000001 and 0.5"#
            ]],
        ),
    ] {
        check(&format!("SELECT approx_percentile({arguments}) FROM (SELECT 1.5 AS x)"), expected).await;
    }
    for arguments in ["x", "'a', 0.5", "now(), 0.5", "INTERVAL '1 s', 0.5", "true, 0.5", "x, 0.5, 0.1, 0.1"] {
        let message = table(&format!("SELECT approx_percentile({arguments}) FROM (SELECT 1.5 AS x)")).await;
        assert!(message.contains("Error during planning"), "{arguments}: {message}");
    }
}

/// Runs queries over the same rows in several orders, batches and partitions.
async fn check_order(queries: &[String], rows: &mut [(i64, Option<f64>)], random: &mut StdRng) {
    let mut expected: Vec<Vec<Vec<Option<u64>>>> = Vec::new();
    for (partitions, batch_rows) in [(1, 5000), (1, 97), (4, 10), (4, 333)] {
        let context = context(partitions);
        with_rows(&context, rows, partitions, batch_rows);
        for (index, sql) in queries.iter().enumerate() {
            let result = bits(&context, sql).await;
            match expected.get(index) {
                Some(expected) => assert_eq!(*expected, result, "{sql}"),
                None => expected.push(result),
            }
        }
        rows.shuffle(random);
    }
}

#[tokio::test]
async fn order_batches_and_partitions_change_no_bit() {
    let mut random = StdRng::seed_from_u64(1);
    for key_count in [1, 7, 900] {
        let mut rows: Vec<(i64, Option<f64>)> =
            (0..2000).map(|_| (random.random_range(0..key_count), any_value(&mut random))).collect();
        let queries = [
            format!("SELECT {ALL} FROM t"),
            format!("SELECT k, {ALL} FROM t GROUP BY k"),
            "SELECT k, sum(DISTINCT x), avg(DISTINCT x), avg(x) FROM t GROUP BY k".to_owned(),
            "SELECT k, stddev(DISTINCT x) FROM t GROUP BY k".to_owned(),
            "SELECT k, sum(x), count(DISTINCT x) FROM t GROUP BY k".to_owned(),
            "SELECT k, corr(x, k % 3), covar_samp(x, x * x), covar_pop(DISTINCT x, k) FROM t GROUP BY k"
                .to_owned(),
            "SELECT regr_slope(x, k), regr_intercept(x, k), regr_r2(k, x), regr_sxy(x, k) FROM t".to_owned(),
        ];
        check_order(&queries, &mut rows, &mut random).await;
    }
}

#[tokio::test]
async fn special_values_in_any_order_change_no_bit() {
    let mut random = StdRng::seed_from_u64(4);
    let special = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0, 2.0];
    let mut rows: Vec<(i64, Option<f64>)> =
        (0..1000).map(|_| (random.random_range(0..400), Some(special[random.random_range(0..8)]))).collect();
    let mut queries = vec![];
    for aggregates in [
        "min(x), max(x)",
        "max(x) FILTER (WHERE x < 2)",
        "median(x)",
        "regr_count(x, x)",
        "percentile_cont(x, 0.3), percentile_cont(DISTINCT x, 0.7)",
        "corr(x, k), regr_slope(k, x)",
    ] {
        queries.push(format!("SELECT {aggregates} FROM t"));
        queries.push(format!("SELECT k, {aggregates} FROM t GROUP BY k"));
    }
    check_order(&queries, &mut rows, &mut random).await;
}

#[tokio::test]
async fn sliding_frames_equal_frames_computed_anew() {
    let mut random = StdRng::seed_from_u64(2);
    let mut rows: Vec<(i64, Option<f64>)> = (0..300).map(|k| (k, any_value(&mut random))).collect();
    for (k, value) in
        [(20, f64::INFINITY), (40, f64::NAN), (41, f64::NEG_INFINITY), (60, 1e300), (80, f64::MAX)]
    {
        rows[k].1 = Some(value);
    }
    let context = context(1);
    with_rows(&context, &rows, 1, 64);
    for function in [
        "sum(x)",
        "avg(x)",
        "var(x)",
        "stddev_pop(x)",
        "approx_percentile(x, 0.9)",
        "sum(DISTINCT x)",
        "min(x)",
        "max(x)",
    ] {
        let over = "OVER (ORDER BY k ROWS BETWEEN 9 PRECEDING AND CURRENT ROW)";
        let sliding = bits(&context, &format!("SELECT k, {function} {over} FROM t")).await;
        let frames = "(SELECT a.k, b.x FROM t a JOIN t b ON b.k BETWEEN a.k - 9 AND a.k)";
        let anew = bits(&context, &format!("SELECT k, {function} FROM {frames} GROUP BY k")).await;
        assert_eq!(sliding, anew, "{function}");
    }
}

#[tokio::test]
async fn other_types_are_left_to_datafusion() {
    let (ours, stock) = (context(2), SessionContext::new());
    for argument in [
        "i",
        "arrow_cast(i, 'UInt16')",
        "arrow_cast(i, 'Int8')",
        "i::decimal(12, 3)",
        "arrow_cast(i, 'Duration(Millisecond)')",
        "arrow_cast(i, 'Interval(MonthDayNano)')",
        "DISTINCT i",
        "DISTINCT i::decimal(12, 3)",
        "i + 1",
        "NULL",
        "true",
        "'a'",
    ] {
        for function in ["sum", "avg", "mean", "min", "max"] {
            let sql = format!(
                "SELECT k, {function}({argument}) AS r, arrow_typeof({function}({argument})) AS t \
                 FROM (VALUES (1, 1), (1, 5), (1, 5), (2, 7), (2, NULL)) AS t(k, i) GROUP BY k ORDER BY k"
            );
            let (ours, stock) = (query(&ours, &sql).await, query(&stock, &sql).await);
            match (ours, stock) {
                (Ok(ours), Ok(stock)) => assert_eq!(
                    pretty_format_batches(&ours).unwrap().to_string(),
                    pretty_format_batches(&stock).unwrap().to_string(),
                    "{sql}"
                ),
                (ours, stock) => assert_eq!(ours.is_err(), stock.is_err(), "{sql}: {ours:?} {stock:?}"),
            }
        }
    }
}

#[tokio::test]
async fn adding_a_constant_is_not_pulled_out_of_a_sum_of_doubles() {
    // Each x + 1 rounds to 1, so that the sum is 3. With the ones pulled out it would be one more bit.
    check(
        "SELECT sum(x + 1e0) AS a, sum(x + 2e0) AS b FROM (VALUES (1e-16), (1e-16), (1e-16)) AS t(x)",
        expect![[r#"
            +-----+-----+
            | a   | b   |
            +-----+-----+
            | 3.0 | 6.0 |
            +-----+-----+"#]],
    )
    .await;
}

#[test]
fn names_are_those_of_datafusion() {
    let stock = all_default_aggregate_functions();
    let ours = all();
    for function in &stock {
        let Some(replacement) = ours.iter().find(|ours| ours.name() == function.name()) else { continue };
        for alias in function.aliases() {
            assert!(replacement.aliases().contains(alias), "{alias} of {}", function.name());
        }
    }
    assert_eq!(ours.iter().filter(|ours| stock.iter().any(|stock| stock.name() == ours.name())).count(), 20);
}
