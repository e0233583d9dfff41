use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::*;

type Row = (i64, Option<i64>, &'static str);

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: [(&str, ArrayRef); 3] = [
        ("k", Arc::new(rows.iter().map(|r| r.0).collect::<Int64Array>())),
        ("n", Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>())),
        ("s", Arc::new(rows.iter().map(|r| Some(r.2)).collect::<StringArray>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

async fn answer(rows: &[Row], partitions: usize, sql: &str) -> String {
    let mut config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(7);
    config.options_mut().execution.skip_partial_aggregation_probe_rows_threshold = 20;
    let state = SessionStateBuilder::new().with_config(config).with_default_features();
    let context = SessionContext::new_with_state(state.build());
    context.add_analyzer_rule(Arc::new(CanonicalAggregates));
    let size = rows.len().div_ceil(partitions);
    let parts: Vec<_> = rows.chunks(size).map(|p| p.chunks(7).map(batch).collect()).collect();
    let table = MemTable::try_new(batch(rows).schema(), parts).unwrap();
    context.register_table("t", Arc::new(table)).unwrap();
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

#[tokio::test]
async fn order_batches_and_partitions_change_nothing() {
    let mut random = StdRng::seed_from_u64(1);
    let calls = [
        "array_agg(n), array_agg(n ORDER BY s DESC), array_agg(DISTINCT s), array_agg(s) FILTER (WHERE n > 1)",
        "string_agg(s, ','), string_agg(s, '|' ORDER BY n NULLS FIRST), string_agg(DISTINCT s, '' ORDER BY s)",
        "first_value(n), last_value(s ORDER BY n), nth_value(n, 2), nth_value(n, 2 ORDER BY s), any_value(n)",
        "last_value(n ORDER BY s) IGNORE NULLS, array_agg(DISTINCT n ORDER BY n DESC)",
        "approx_median(n), approx_percentile_cont(0.3) WITHIN GROUP (ORDER BY n DESC)",
        "count(DISTINCT n, s), bit_xor(DISTINCT n), count(DISTINCT s)",
    ];
    for keys in [1, 3, 60] {
        let mut row = || {
            let n = random.random_ratio(9, 10).then(|| random.random_range(0..5));
            (random.random_range(0..keys), n, ["a", "b", "", "c"][random.random_range(0..4)])
        };
        let mut rows: Vec<Row> = (0..150).map(|_| row()).collect();
        for call in calls {
            let sql = format!("SELECT k, {call} FROM t GROUP BY k ORDER BY k");
            let expected = answer(&rows, 1, &sql).await;
            for partitions in [1, 2, 5] {
                rows.shuffle(&mut random);
                assert_eq!(answer(&rows, partitions, &sql).await, expected, "{sql}");
            }
        }
    }
}
