//! Saved groups: what a batch of them looks like, what is refused, and that nobody notices a restart.

mod continuation;
mod damage;

use arrow::array::{BooleanArray, Float64Array, ListArray, StringArray, StringViewArray, StructArray};
use expect_test::expect;

use super::super::tests::{by_text, tick};
use super::super::{AggregateSpec, BitFunction, Diff};
use super::*;
use crate::delta::operator::Operator;
use crate::delta::testing::texts;

/// A new aggregate with all of `parts`.
fn loaded(spec: &GroupBySpec, parts: &[RecordBatch]) -> DataFusionResult<Aggregate> {
    let mut aggregate = Aggregate::new(spec.clone(), Arc::default())?;
    parts.iter().try_for_each(|part| aggregate.load_groups(part))?;
    Ok(aggregate)
}

/// `saved` as text: its metadata but the aggregation, its columns but their checksums, its rows in order.
fn shown(saved: &RecordBatch) -> String {
    let metadata = saved.schema_ref().metadata();
    let mut lines: Vec<String> = [VERSION_KEY, SETTLING_KEY]
        .iter()
        .filter_map(|key| Some(format!("{key} {}", metadata.get(*key)?)))
        .collect();
    let fields = saved.schema_ref().fields().iter();
    lines.push(fields.map(|f| format!("{}: {}", f.name(), f.data_type())).collect::<Vec<_>>().join(", "));
    let mut rows = texts(saved);
    rows.iter_mut().for_each(|row| drop(row.pop()));
    rows.sort();
    lines.extend(rows.iter().map(|row| row.join(" | ")));
    lines.join("\n") + "\n"
}

#[test]
fn a_row_is_a_group() {
    let spec = GroupBySpec { horizon_ms: Some(1000), ..by_text(true) };
    let mut aggregate = Aggregate::new(spec.clone(), Arc::default()).unwrap();
    expect![[r#"
        version 1
        group_0: Utf8, rows: Int64, until: UInt64, state_0: LargeBinary, state_1: LargeBinary, state_2: LargeBinary, checksum: UInt32
    "#]]
    .assert_eq(&shown(&aggregate.save_groups().unwrap()));
    tick(&mut aggregate, 1, &[(&[(1, "a"), (300, "a"), (5, "b"), (6, "gone")], 1)]);
    // A retraction without its insertion, and one whose insertion is another row.
    tick(&mut aggregate, 2, &[(&[(6, "gone"), (7, "c"), (8, "d")], -1), (&[(9, "d")], 1)]);
    let saved = aggregate.save_groups().unwrap();
    expect![[r#"
        version 1
        next_settling 1001
        group_0: Utf8, rows: Int64, until: UInt64, state_0: LargeBinary, state_1: LargeBinary, state_2: LargeBinary, checksum: UInt32
        a | 2 | null | 04 | 04da04 | 00020202d80402
        b | 1 | null | 02 | 020a | 00010a02
        c | -1 | null | 01 | 010d | 010e0100
        d | 0 | null | 00 | 0002 | 021001120200
    "#]]
    .assert_eq(&shown(&saved));
    let of = &saved.schema_ref().metadata()[AGGREGATION_KEY];
    assert!(of.ends_with("over [Utf8, Int64], retracts true, until []"), "{of}");
    let mut other = loaded(&spec, &[saved]).unwrap();
    assert_eq!(other.snapshot().map(|parts| texts(&parts[0].0).len()), Some(2));
    let changes: &[(&[(i64, &str)], Diff)] = &[(&[(7, "c"), (7, "c"), (8, "d")], 1), (&[(1, "a")], -1)];
    let text = tick(&mut other, 3, changes);
    expect![[r#"
        a 1 300 300 @3 +1
        a 2 301 1 @3 -1
        c 1 7 7 @3 +1
        d 1 9 9 @3 +1
    "#]]
    .assert_eq(&text);
    assert_eq!(tick(&mut aggregate, 3, changes), text);
}

#[test]
fn an_aggregate_over_everything_has_its_row_from_the_first_tick_on() {
    let mut spec = by_text(true);
    spec.group_columns = 0;
    spec.schema = Arc::new(Schema::new(spec.schema.fields()[1..].to_vec()));
    let mut aggregate = Aggregate::new(spec.clone(), Arc::default()).unwrap();
    let before = aggregate.save_groups().unwrap();
    assert_eq!(before.num_rows(), 0);
    tick(&mut aggregate, 0, &[]);
    let saved = aggregate.save_groups().unwrap();
    assert_eq!(saved.num_rows(), 1);
    assert!(
        tick(&mut loaded(&spec, std::slice::from_ref(&before)).unwrap(), 1, &[])
            .contains("0 null null @1 +1")
    );
    // The row is out already.
    let mut other = loaded(&spec, &[before, saved.clone()]).unwrap();
    assert_eq!(texts(&other.snapshot().unwrap()[0].0), [["0", "null", "null"]]);
    assert_eq!(tick(&mut other, 1, &[]), "");
    let twice = loaded(&spec, &[saved.clone(), saved]).err().unwrap().to_string();
    assert!(twice.contains("row 0 of saved groups is a group that was loaded before"), "{twice}");
}

/// Rows of each type that is saved in Arrow's row format. Where this fails, the format is another: so is
/// [`VERSION`] then.
#[test]
fn the_row_format_is_that_of_this_version() {
    let texts = [Some("ab"), None, Some("a text that is longer than thirty-two bytes")];
    let list =
        ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let fields = vec![Field::new("b", DataType::Boolean, true), Field::new("n", DataType::Int64, true)];
    let inner: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
        Arc::new(Int64Array::from(vec![Some(-1), Some(2), None])),
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(texts.to_vec())),
        Arc::new(StringViewArray::from(texts.to_vec())),
        Arc::new(LargeBinaryArray::from(texts.map(|text| text.map(str::as_bytes)).to_vec())),
        Arc::new(Float64Array::from(vec![Some(-0.0), Some(f64::NAN), Some(1.5)])),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        Arc::new(arrow::array::Decimal128Array::from(vec![Some(-1), Some(1 << 100), None])),
        Arc::new(arrow::array::TimestampNanosecondArray::from(vec![Some(0), Some(-1), None])),
        Arc::new(list),
        Arc::new(StructArray::new(fields.into(), inner, None)),
        Arc::new(arrow::array::FixedSizeBinaryArray::try_from_iter([b"ab", b"cd", b"ef"].iter()).unwrap()),
    ];
    let mut lines = String::new();
    for column in columns {
        let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())]).unwrap();
        let rows = converter.convert_columns(std::slice::from_ref(&column)).unwrap();
        let bytes: Vec<&[u8]> = rows.iter().map(|row| row.data()).collect();
        let again = super::super::state::decode("rows", &converter, [column.data_type()].into_iter(), &bytes)
            .unwrap();
        assert_eq!(again[0].to_data(), column.to_data());
        let hex = |row: &&[u8]| row.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let rows: Vec<String> = bytes.iter().map(hex).collect();
        lines += &format!("{}: {}\n", column.data_type(), rows.join(" "));
    }
    expect![[r#"
        Utf8: 02616200000000000002 00 026120746578742074ff686174206973206cff6f6e676572207468ff616e207468697274ff792d74776f2062797465730000000000000000000000000000000000000000000b
        Utf8View: 02616200000000000002 00 026120746578742074ff686174206973206cff6f6e676572207468ff616e207468697274ff792d74776f2062797465730000000000000000000000000000000000000000000b
        LargeBinary: 02616200000000000002 00 026120746578742074ff686174206973206cff6f6e676572207468ff616e207468697274ff792d74776f2062797465730000000000000000000000000000000000000000000b
        Float64: 017fffffffffffffff 01fff8000000000000 01bff8000000000000
        Boolean: 0101 0100 0000
        Decimal128(38, 10): 017fffffffffffffffffffffffffffffff 0180000010000000000000000000000000 0000000000000000000000000000000000
        Timestamp(ns): 018000000000000000 017fffffffffffffff 000000000000000000
        List(Int64): 020180000000000000ff010000000000000001020000000000000000ff00000000000000000101 00 01
        Struct("b": Boolean, "n": Int64): 010101017fffffffffffffff 010000018000000000000002 010100000000000000000000
        FixedSizeBinary(2): 016162 016364 016566
    "#]].assert_eq(&lines);
}
