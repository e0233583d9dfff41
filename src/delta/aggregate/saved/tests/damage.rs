//! What is not what was saved is refused.

use arrow::array::LargeBinaryBuilder;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::continuation::Case;
use super::*;

/// The error of loading `saved`.
fn refusal(spec: &GroupBySpec, saved: RecordBatch) -> SavedError {
    match loaded(spec, &[saved]).err().expect("to be refused") {
        DataFusionError::External(error) => *error.downcast::<SavedError>().expect("an error of its own"),
        other => panic!("not typed: {other:?}"),
    }
}

fn with_metadata(saved: &RecordBatch, key: &str, value: Option<&str>) -> RecordBatch {
    let mut metadata = saved.schema_ref().metadata().clone();
    match value {
        Some(value) => drop(metadata.insert(key.to_owned(), value.to_owned())),
        None => drop(metadata.remove(key)),
    }
    let schema = Schema::new_with_metadata(saved.schema_ref().fields().clone(), metadata);
    RecordBatch::try_new(Arc::new(schema), saved.columns().to_vec()).unwrap()
}

/// `saved` with another column; with the checksums that it has then, if `is_sealed`.
fn with_column(
    saved: &RecordBatch,
    spec: &GroupBySpec,
    at: usize,
    column: ArrayRef,
    is_sealed: bool,
) -> RecordBatch {
    let mut columns = saved.columns().to_vec();
    columns[at] = column;
    if is_sealed {
        let states = spec.group_columns + 2..columns.len() - 1;
        let sealed = Columns {
            group: columns[..spec.group_columns].to_vec(),
            rows: columns[spec.group_columns].as_primitive().clone(),
            until: columns[spec.group_columns + 1].as_primitive().clone(),
            states: columns[states].iter().map(|state| state.as_binary().clone()).collect(),
        };
        let checksums = UInt32Array::from(sealed.checksums().unwrap());
        *columns.last_mut().unwrap() = Arc::new(checksums);
    }
    RecordBatch::try_new(saved.schema(), columns).unwrap()
}

/// The states `of`, with `state` in the place of the one at `row`.
fn with_state(of: &LargeBinaryArray, row: usize, state: &[u8]) -> ArrayRef {
    let mut states = LargeBinaryBuilder::new();
    (0..of.len()).for_each(|i| states.append_value(if i == row { state } else { of.value(i) }));
    Arc::new(states.finish())
}

#[test]
fn others_are_refused() {
    let spec = by_text(true);
    let mut aggregate = Aggregate::new(spec.clone(), Arc::default()).unwrap();
    tick(&mut aggregate, 1, &[(&[(1, "a"), (5, "b")], 1)]);
    let saved = aggregate.save_groups().unwrap();
    let message = |saved: RecordBatch| refusal(&spec, saved).to_string();
    let version = |value| message(with_metadata(&saved, VERSION_KEY, value));
    assert_eq!(version(Some("2")), r#"saved groups have version "2", "1" expected"#);
    assert_eq!(version(None), r#"saved groups have version "", "1" expected"#);
    let settling = message(with_metadata(&saved, SETTLING_KEY, Some("-1")));
    assert_eq!(settling, r#"saved groups have next_settling "-1", a tick expected"#);
    let narrow = refusal(&spec, saved.project(&[0, 1, 2]).unwrap());
    assert!(matches!(narrow, SavedError::Aggregation { .. }), "{narrow}");
    let never_retracts = refusal(&by_text(false), saved.clone());
    assert!(matches!(never_retracts, SavedError::Aggregation { .. }), "{never_retracts}");
    let whole = loaded(&spec, &[saved.slice(0, 1), saved.clone()]).err().unwrap().to_string();
    assert!(whole.ends_with("row 0 of saved groups is a group that was loaded before"), "{whole}");
    let other_group = Arc::new(StringArray::from(vec!["a", "c"]));
    let renamed = message(with_column(&saved, &spec, 0, other_group, false));
    assert_eq!(renamed, "row 1 of saved groups does not match its checksum");
    let other_rows = Arc::new(Int64Array::from(vec![2, 1]));
    let counted = message(with_column(&saved, &spec, 1, other_rows, false));
    assert_eq!(counted, "row 0 of saved groups does not match its checksum");
    let same_group = Arc::new(StringArray::from(vec!["a", "a"]));
    let doubled = message(with_column(&saved, &spec, 0, same_group, true));
    assert_eq!(doubled, "row 1 of saved groups is a group that was loaded before");
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(1000 + seed);
        let case = Case::new(&mut random);
        let spec = &case.spec;
        let saved = case.run(&mut random).save_groups().unwrap();
        if saved.num_rows() == 0 {
            continue;
        }
        for column in spec.group_columns + 2..saved.num_columns() - 1 {
            let states = saved.column(column).as_binary::<i64>();
            let row = random.random_range(0..saved.num_rows());
            let state = states.value(row);
            let cut = (0..state.len()).map(|length| state[..length].to_vec());
            let flipped = (0..state.len()).map(|at| {
                let mut flipped = state.to_vec();
                flipped[at] ^= 1 << random.random_range(0..8);
                flipped
            });
            let longer = [[state, &[0]].concat()];
            for damaged in cut.chain(flipped).chain(longer) {
                let damaged = with_state(states, row, &damaged);
                let unsealed = with_column(&saved, spec, column, damaged.clone(), false);
                let error = refusal(spec, unsealed);
                assert!(matches!(error, SavedError::Checksum { row: found } if found == row), "{error}");
                // Even what bears the right checksum is read with care.
                let sealed = with_column(&saved, spec, column, damaged, true);
                match loaded(spec, &[sealed]) {
                    Ok(_) => {}
                    Err(DataFusionError::External(error)) => {
                        let error = error.downcast::<SavedError>().unwrap();
                        assert!(matches!(*error, SavedError::State(_) | SavedError::Rows { .. }), "{error}");
                    }
                    Err(other) => panic!("seed {seed}: {other:?}"),
                }
            }
        }
    }
}
