//! TPC-H: all 22 queries as views over tables whose rows come, change and go. At every tick each equals the same
//! SELECT as a batch query.

mod data;

use std::path::Path;

use arrow::array::{BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;

use crate::oracle::{compare, maintain};
use crate::support::Server;

const QUERIES: usize = 22;

/// Orders are kept back, to be inserted later, by their key modulo this.
const PORTIONS: i64 = 12;

/// What happens after the tables are loaded; each is a tick. `insert N` adds the orders of portion N with their items.
const REFRESHES: &[&str] = &[
    "insert 0",
    "DELETE FROM lineitem WHERE l_orderkey % 12 = 3; DELETE FROM orders WHERE o_orderkey % 12 = 3",
    // Orders that query 18 looks for.
    "UPDATE lineitem SET l_quantity = 50 WHERE l_orderkey % 12 = 5",
    "UPDATE customer SET c_acctbal = c_acctbal + 2500, c_mktsegment = 'BUILDING' WHERE c_custkey % 5 = 1",
    "insert 1",
    "UPDATE part SET p_brand = 'Brand#23', p_container = 'MED BOX' WHERE p_partkey % 10 = 4",
    "UPDATE part SET p_type = 'ECONOMY ANODIZED STEEL' WHERE p_partkey % 10 = 5",
    "UPDATE part SET p_type = 'PROMO PLATED BRASS', p_size = 15 WHERE p_partkey % 10 = 6",
    "UPDATE part SET p_name = 'forest ' || p_name WHERE p_partkey % 10 = 7",
    // To nations that queries ask for: Brazil, Canada, France, Germany, Saudi Arabia.
    "UPDATE supplier SET s_nationkey = 2 WHERE s_suppkey % 7 = 1",
    "UPDATE supplier SET s_nationkey = 3 WHERE s_suppkey % 7 = 2",
    "UPDATE supplier SET s_nationkey = 6 WHERE s_suppkey % 7 = 3",
    "UPDATE supplier SET s_nationkey = 7 WHERE s_suppkey % 7 = 4",
    "UPDATE supplier SET s_nationkey = 20 WHERE s_suppkey % 7 = 5",
    "UPDATE supplier SET s_comment = 'Customer said Complaints' WHERE s_suppkey % 9 = 1",
    "UPDATE partsupp SET ps_supplycost = ps_supplycost / 2, ps_availqty = ps_availqty + 1 WHERE ps_partkey % 3 = 0",
    "DELETE FROM customer WHERE c_custkey % 11 = 2",
    "DELETE FROM part WHERE p_partkey % 10 = 8",
    "DELETE FROM lineitem WHERE l_orderkey % 12 = 7; DELETE FROM orders WHERE o_orderkey % 12 = 7",
    "insert 3",
    "DELETE FROM lineitem WHERE l_orderkey % 12 < 10; DELETE FROM orders WHERE o_orderkey % 12 < 10",
];

/// The text of query `number`, counted from 1.
fn query(number: usize) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/tpch/q{number}.sql"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of `all` whose order, the first column, belongs to a portion that `is_wanted`.
fn of_portions(all: &RecordBatch, is_wanted: impl Fn(i64) -> bool) -> RecordBatch {
    let keys = all.column(0).as_any().downcast_ref::<Int64Array>().expect("keys of orders");
    let mask: BooleanArray = keys.values().iter().map(|key| Some(is_wanted(key % PORTIONS))).collect();
    filter_record_batch(all, &mask).expect("a mask of the batch's own length")
}

/// Whether orders of `portion` are there from the start.
fn is_first(portion: i64) -> bool {
    ![0, 1].contains(&portion)
}

fn run(workers: usize) {
    let mut server = Server::new(workers);
    for (name, columns) in data::TABLES {
        server.run(&format!("CREATE TABLE {name} ({columns})"));
    }
    // Half of the views are there before any data.
    let early = (1..=QUERIES).filter(|q| q % 2 == 0);
    let mut views = maintain(&mut server, early.map(|q| (format!("q{q}"), query(q))));
    for (name, _) in data::TABLES {
        let rows = data::rows(name);
        let rows = if ["orders", "lineitem"].contains(&name) { of_portions(&rows, is_first) } else { rows };
        server.insert(name, rows);
    }
    server.close(1_000);
    let late = (1..=QUERIES).filter(|q| q % 2 == 1);
    views.extend(maintain(&mut server, late.map(|q| (format!("q{q}"), query(q)))));
    compare(&mut server, &mut views, "once loaded");
    for refresh in REFRESHES {
        match refresh.strip_prefix("insert ") {
            Some(portion) => {
                let portion: i64 = portion.parse().expect("a number");
                for name in ["orders", "lineitem"] {
                    server.insert(name, of_portions(&data::rows(name), |p| p == portion));
                }
            }
            None => server.run(refresh),
        }
        server.close(0);
        compare(&mut server, &mut views, &format!("with {workers} workers, after {refresh}"));
    }
    let empty: Vec<&str> = views.iter().filter(|v| !v.has_values).map(|v| v.name.as_str()).collect();
    assert!(empty.is_empty(), "queries that never had a row with a value: {empty:?}");
}

#[test]
fn all_queries_equal_batch_with_one_worker() {
    run(1);
}

#[test]
fn all_queries_equal_batch_with_several_workers() {
    run(3);
}
