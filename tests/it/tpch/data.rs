//! The tables of TPC-H at a very small scale.

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use tpchgen::distribution::Distributions;
use tpchgen::generators;
use tpchgen::text::TextPool;
use tpchgen_arrow as arrays;

/// 3,000 orders.
const SCALE_FACTOR: f64 = 0.002;

/// Comments are cut out of so much text: the specification's 300 MiB take a second to write.
static TEXT: LazyLock<TextPool> = LazyLock::new(|| TextPool::new(1 << 20, Distributions::static_default()));

/// The tables' names and columns.
pub const TABLES: [(&str, &str); 8] = [
    ("region", "r_regionkey BIGINT, r_name TEXT, r_comment TEXT"),
    ("nation", "n_nationkey BIGINT, n_name TEXT, n_regionkey BIGINT, n_comment TEXT"),
    (
        "part",
        "p_partkey BIGINT, p_name TEXT, p_mfgr TEXT, p_brand TEXT, p_type TEXT, p_size INTEGER, p_container TEXT, \
         p_retailprice NUMERIC(15, 2), p_comment TEXT",
    ),
    (
        "supplier",
        "s_suppkey BIGINT, s_name TEXT, s_address TEXT, s_nationkey BIGINT, s_phone TEXT, s_acctbal NUMERIC(15, 2), \
         s_comment TEXT",
    ),
    (
        "partsupp",
        "ps_partkey BIGINT, ps_suppkey BIGINT, ps_availqty INTEGER, ps_supplycost NUMERIC(15, 2), ps_comment TEXT",
    ),
    (
        "customer",
        "c_custkey BIGINT, c_name TEXT, c_address TEXT, c_nationkey BIGINT, c_phone TEXT, c_acctbal NUMERIC(15, 2), \
         c_mktsegment TEXT, c_comment TEXT",
    ),
    (
        "orders",
        "o_orderkey BIGINT, o_custkey BIGINT, o_orderstatus TEXT, o_totalprice NUMERIC(15, 2), o_orderdate DATE, \
         o_orderpriority TEXT, o_clerk TEXT, o_shippriority INTEGER, o_comment TEXT",
    ),
    (
        "lineitem",
        "l_orderkey BIGINT, l_partkey BIGINT, l_suppkey BIGINT, l_linenumber INTEGER, l_quantity NUMERIC(15, 2), \
         l_extendedprice NUMERIC(15, 2), l_discount NUMERIC(15, 2), l_tax NUMERIC(15, 2), l_returnflag TEXT, \
         l_linestatus TEXT, l_shipdate DATE, l_commitdate DATE, l_receiptdate DATE, l_shipinstruct TEXT, \
         l_shipmode TEXT, l_comment TEXT",
    ),
];

/// All rows of `table`.
pub fn rows(table: &str) -> RecordBatch {
    let (scale, words, text) = (SCALE_FACTOR, Distributions::static_default(), &*TEXT);
    match table {
        "region" => {
            let made = generators::RegionGenerator::new_with_distributions_and_text_pool(words, text);
            joined(arrays::RegionArrow::new(made))
        }
        "nation" => {
            let made = generators::NationGenerator::new_with_distributions_and_text_pool(words, text);
            joined(arrays::NationArrow::new(made))
        }
        "part" => {
            let made =
                generators::PartGenerator::new_with_distributions_and_text_pool(scale, 1, 1, words, text);
            joined(arrays::PartArrow::new(made))
        }
        "supplier" => {
            let made =
                generators::SupplierGenerator::new_with_distributions_and_text_pool(scale, 1, 1, words, text);
            joined(arrays::SupplierArrow::new(made))
        }
        "partsupp" => {
            let made = generators::PartSuppGenerator::new_with_text_pool(scale, 1, 1, text);
            joined(arrays::PartSuppArrow::new(made))
        }
        "customer" => {
            let made =
                generators::CustomerGenerator::new_with_distributions_and_text_pool(scale, 1, 1, words, text);
            joined(arrays::CustomerArrow::new(made))
        }
        "orders" => {
            let made =
                generators::OrderGenerator::new_with_distributions_and_text_pool(scale, 1, 1, words, text);
            joined(arrays::OrderArrow::new(made))
        }
        "lineitem" => {
            let made =
                generators::LineItemGenerator::new_with_distributions_and_text_pool(scale, 1, 1, words, text);
            joined(arrays::LineItemArrow::new(made))
        }
        other => panic!("TPC-H has no table \"{other}\""),
    }
}

/// `parts` as one batch of nullable columns, texts as SQL's TEXT.
fn joined(parts: impl Iterator<Item = Result<RecordBatch, ArrowError>>) -> RecordBatch {
    let parts: Vec<RecordBatch> = parts.map(|part| part.expect("generated rows")).collect();
    let rows = concat_batches(&parts[0].schema(), &parts).expect("batches of one schema");
    let fields = rows.schema_ref().fields().iter().map(|field| {
        let data_type = match field.data_type() {
            DataType::Utf8View => DataType::Utf8,
            other => other.clone(),
        };
        field.as_ref().clone().with_data_type(data_type).with_nullable(true)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = rows.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| cast(column, field.data_type()).expect("texts"));
    RecordBatch::try_new(schema.clone(), columns.collect()).expect("columns of the schema")
}
