//! Any aggregation at any tick: what goes on from saved groups gives what the one that saved them gives.

use std::collections::BTreeMap;

use arrow::array::{Decimal128Array, Float64Array, StringArray, TimestampNanosecondArray};
use arrow::compute::{SortOptions, filter_record_batch};
use arrow::datatypes::TimeUnit;
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::first_last::{first_value_udaf, last_value_udaf};
use datafusion::functions_aggregate::median::median_udaf;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::delta::aggregate::Function::*;
use crate::delta::aggregate::recomputed::tests::call;
use crate::delta::aggregate::{Changes, Reads, Run};
use crate::delta::temporal_condition::{Bound, Comparison};
use crate::delta::testing::{Bag, bag};
use crate::detect::pairs::PairsQuestion;

/// Different rows that come and go.
const POOL_ROWS: usize = 80;
const GROUPS: usize = 30;

/// The columns after those of the group.
static ARGUMENTS: [(&str, DataType); 9] = [
    ("int", DataType::Int64),
    ("unsigned", DataType::UInt64),
    ("decimal", DataType::Decimal128(10, 2)),
    ("float", DataType::Float64),
    ("other_float", DataType::Float64),
    ("text", DataType::Utf8),
    ("bool", DataType::Boolean),
    ("at", DataType::Timestamp(TimeUnit::Nanosecond, None)),
    ("until", DataType::Timestamp(TimeUnit::Nanosecond, None)),
];

/// An aggregation and rows for it.
pub(super) struct Case {
    pub spec: GroupBySpec,
    pool: RecordBatch,
    /// The group of each row as text.
    groups: Vec<String>,
}

fn float(random: &mut StdRng) -> Option<f64> {
    let usual = f64::from(random.random_range(-3..4)) * 0.1;
    let values = [usual, usual, 1e300, -1e-300, 0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    (!random.random_bool(0.1)).then(|| *values.choose(random).unwrap())
}

fn text(random: &mut StdRng) -> Option<&'static str> {
    *[None, Some(""), Some("a"), Some("b"), Some("a text of more bytes than a block has")]
        .choose(random)
        .unwrap()
}

fn maybe<T>(random: &mut StdRng, value: impl FnOnce(&mut StdRng) -> T) -> Option<T> {
    (!random.random_bool(0.1)).then(|| value(random))
}

/// A column of `values`.
fn column<T, A: FromIterator<Option<T>> + Array + 'static>(
    random: &mut StdRng,
    value: impl Fn(&mut StdRng) -> Option<T>,
) -> ArrayRef {
    Arc::new((0..POOL_ROWS).map(|_| value(random)).collect::<A>())
}

/// The columns of a group, each of the form that its rows may have it in.
fn group_columns(random: &mut StdRng, group_of: &[usize]) -> Vec<ArrayRef> {
    let texts = |g: &usize| [None, Some("a"), Some("bb"), Some("ccc"), Some("")][g % 5];
    let zero = |random: &mut StdRng| if random.random_bool(0.5) { 0.0 } else { -0.0 };
    let floats = [None, Some(f64::NAN), Some(0.0), Some(1.5), Some(f64::INFINITY), Some(-2.5)];
    let float =
        |g: usize, random: &mut StdRng| floats[g % 6].map(|f| if f == 0.0 { zero(random) } else { f });
    let all: [ArrayRef; 4] = [
        Arc::new(group_of.iter().map(texts).collect::<StringArray>()),
        Arc::new(group_of.iter().map(|g| float(*g, random)).collect::<Float64Array>()),
        Arc::new(group_of.iter().map(|g| (*g != 7).then_some(*g as i64)).collect::<Int64Array>()),
        Arc::new(group_of.iter().map(|g| Some(g % 2 == 0)).collect::<BooleanArray>()),
    ];
    let choices: [&[usize]; 6] = [&[], &[0], &[1], &[2], &[0, 1], &[2, 0, 3, 1]];
    choices.choose(random).unwrap().iter().map(|i| all[*i].clone()).collect()
}

/// Any aggregate of the columns of `input`, of which `first` is the first argument.
fn aggregate(random: &mut StdRng, input: &Arc<Schema>, first: usize) -> AggregateSpec {
    use DataType::Decimal128 as Dec;
    let [int, unsigned, decimal, float, other, text, boolean, at] = std::array::from_fn(|i| first + i);
    let of = |column: usize| input.field(column).data_type().clone();
    let ascending = SortOptions { descending: false, nulls_first: false };
    let descending = SortOptions { descending: true, nulls_first: true };
    let extreme = *[int, unsigned, decimal, float, text, boolean, at].choose(random).unwrap();
    let whole = *[int, unsigned].choose(random).unwrap();
    let (is_sample, is_root) = (random.random(), random.random());
    let bits = *[BitFunction::And, BitFunction::Or, BitFunction::Xor].choose(random).unwrap();
    let percentile = Percentile { ranks: vec![0.5, 0.9], relative_error: 0.01 };
    let pairs = Pairs { questions: vec![PairsQuestion::Slope, PairsQuestion::CovariancePopulation] };
    let simple = |function, arguments: &[usize], output| AggregateSpec {
        function,
        arguments: arguments.to_vec(),
        filter: None,
        is_distinct: false,
        output,
    };
    let mut spec = match random.random_range(0..17) {
        0 => simple(Count, &[], DataType::Int64),
        1 => simple(Count, &[text, float], DataType::Int64),
        2 => simple(Sum, &[whole], of(whole)),
        3 => simple(Sum, &[decimal], Dec(20, 2)),
        4 => simple(Avg, &[decimal], Dec(14, 6)),
        5 => simple([Sum, Avg].choose(random).unwrap().clone(), &[float], DataType::Float64),
        6 => simple(Variance { is_sample, is_root }, &[float], DataType::Float64),
        7..10 => simple([Min, Max].choose(random).unwrap().clone(), &[extreme], of(extreme)),
        10 => simple(Bits(bits), &[whole], of(whole)),
        11 => simple([BoolAnd, BoolOr].choose(random).unwrap().clone(), &[boolean], DataType::Boolean),
        12 => simple(percentile, &[float], DataType::Float64),
        13 => simple(pairs, &[float, other], DataType::Float64),
        14 => call(array_agg_udaf(), Reads::All, text, &[(text, ascending), (float, descending)], input),
        15 => call(median_udaf(), Reads::All, int, &[(int, ascending)], input),
        _ => {
            let (function, reads) = match random.random() {
                true => (first_value_udaf(), Reads::First(1)),
                false => (last_value_udaf(), Reads::Last(1)),
            };
            call(function, reads, text, &[(at, descending), (text, ascending)], input)
        }
    };
    let can_be_distinct = match &spec.function {
        Recomputed(_) => spec.arguments == [int],
        _ => spec.arguments.len() == 1 || spec.function == Count && !spec.arguments.is_empty(),
    };
    spec.is_distinct = can_be_distinct && random.random_bool(0.4);
    spec.filter = random.random_bool(0.3).then_some(boolean);
    spec
}

impl Case {
    pub fn new(random: &mut StdRng) -> Self {
        let group_of: Vec<usize> = (0..POOL_ROWS).map(|_| random.random_range(0..GROUPS)).collect();
        let mut columns = group_columns(random, &group_of);
        let group = columns.len();
        let mut untils: BTreeMap<String, Option<i64>> = BTreeMap::new();
        let groups: Vec<String> = (0..POOL_ROWS)
            .map(|row| {
                let options = arrow::util::display::FormatOptions::default().with_null("null");
                let value = |column: &ArrayRef| {
                    let shown = arrow::util::display::ArrayFormatter::try_new(column, &options).unwrap();
                    shown.value(row).to_string().replace("-0.0", "0.0")
                };
                columns.iter().map(value).collect::<Vec<_>>().join(" ")
            })
            .collect();
        // Where there are few ends, more groups end at once than a portion takes.
        let ends = *[4, 25].choose(random).unwrap();
        let until = groups.iter().map(|group| {
            let until = || maybe(random, |random| random.random_range(2..ends) * 500_000_000);
            *untils.entry(group.clone()).or_insert_with(until)
        });
        let until: TimestampNanosecondArray = until.collect();
        columns.extend([
            column::<i64, Int64Array>(random, |r| maybe(r, |r| *[-1, 0, 3, i64::MAX].choose(r).unwrap())),
            column::<u64, UInt64Array>(random, |r| maybe(r, |r| *[0, 1, 7, u64::MAX].choose(r).unwrap())),
            Arc::new(
                (0..POOL_ROWS)
                    .map(|_| maybe(random, |r| r.random_range(-999..999)))
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
            column::<f64, Float64Array>(random, float),
            column::<f64, Float64Array>(random, float),
            column::<&str, StringArray>(random, text),
            column::<bool, BooleanArray>(random, |r| maybe(r, |r| r.random())),
            column::<i64, TimestampNanosecondArray>(random, |r| maybe(r, |r| r.random_range(-2..3))),
            Arc::new(until),
        ]);
        let group_fields =
            (0..group).map(|i| Field::new(format!("g{i}"), columns[i].data_type().clone(), true));
        let arguments = ARGUMENTS.iter().map(|(name, t)| Field::new(*name, t.clone(), true));
        let input = Arc::new(Schema::new(group_fields.chain(arguments).collect::<Vec<_>>()));
        let pool = RecordBatch::try_new(input.clone(), columns).unwrap();
        let count = random.random_range(1..5);
        let aggregates: Vec<_> = (0..count).map(|_| aggregate(random, &input, group)).collect();
        let outputs = aggregates.iter().flat_map(|a| {
            let outputs = match &a.function {
                Percentile { ranks, .. } => ranks.len(),
                Pairs { questions } => questions.len(),
                _ => 1,
            };
            std::iter::repeat_n(Field::new("a", a.output.clone(), true), outputs)
        });
        let schema = Arc::new(Schema::new(
            input.fields()[..group].iter().map(|f| f.as_ref().clone()).chain(outputs).collect::<Vec<_>>(),
        ));
        let until = Bound { column: group + 8, comparison: Comparison::Before, months: 0 };
        let retracts = random.random_bool(0.7);
        let spec = GroupBySpec {
            group_columns: group,
            aggregates,
            input,
            schema,
            retracts,
            until: if group > 0 && random.random_bool(0.5) { vec![until] } else { vec![] },
            horizon_ms: (retracts && random.random_bool(0.5)).then_some(1500),
        };
        Case { spec, pool, groups }
    }

    /// Which of `workers` has a group.
    fn worker(group: &str, workers: usize) -> usize {
        group.bytes().map(usize::from).sum::<usize>() % workers
    }

    /// What comes at a tick: rows of the pool and how often they come or go.
    fn changes(&self, random: &mut StdRng, present: &mut [Diff]) -> Vec<(usize, Diff)> {
        let count = if random.random_bool(0.1) { 0 } else { random.random_range(0..25) };
        let change = |_| {
            let row = random.random_range(0..POOL_ROWS);
            // Some go before they come.
            let goes = self.spec.retracts
                && (present[row] > 0 && random.random_bool(0.6) || random.random_bool(0.03));
            let diff = if goes { -1 } else { random.random_range(1..3) };
            present[row] += diff;
            (row, diff)
        };
        (0..count).map(change).collect()
    }

    /// Has `operators` see `changes`, in parts, each what belongs to its groups.
    fn tick(&self, operators: &mut [Aggregate], tick: Tick, changes: &[(usize, Diff)]) -> Outcome {
        let workers = operators.len();
        let mut outcome = Outcome::default();
        for (worker, operator) in operators.iter_mut().enumerate() {
            let parts = changes.chunks(10).map(|part| {
                let mine = part.iter().filter(|(row, _)| Self::worker(&self.groups[*row], workers) == worker);
                let rows: Vec<u32> = mine.clone().map(|(row, _)| *row as u32).collect();
                (take_rows(&self.pool, &rows.into()), Run::from_vec(mine.map(|(_, diff)| *diff).collect()))
            });
            let parts = parts.filter(|(rows, _)| rows.num_rows() > 0).collect();
            // Without groups there is one row, and the first worker has it.
            if self.spec.group_columns > 0 || worker == 0 {
                outcome.add(operator.tick(tick, vec![parts]));
            }
        }
        outcome
    }

    /// New aggregates, each with those rows of `saved` that belong to it.
    fn restarted(&self, saved: &[RecordBatch], workers: usize) -> Vec<Aggregate> {
        let aggregate = |worker: usize| {
            let mine = saved.iter().map(|part| {
                let group: Vec<usize> = (0..self.spec.group_columns).collect();
                let is_mine = |group: Vec<String>| Self::worker(&group.join(" "), workers) == worker;
                let mask: BooleanArray = match group.is_empty() {
                    true => vec![worker == 0; part.num_rows()].into(),
                    false => texts(&part.project(&group).unwrap())
                        .into_iter()
                        .map(is_mine)
                        .collect::<Vec<_>>()
                        .into(),
                };
                filter_record_batch(part, &mask).unwrap()
            });
            loaded(&self.spec, &mine.collect::<Vec<_>>()).unwrap()
        };
        (0..workers).map(aggregate).collect()
    }
}

/// What changed: rows and errors.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    rows: Bag,
    errors: BTreeMap<String, Diff>,
}

impl Outcome {
    fn add(&mut self, changes: Changes) {
        bag(&changes.rows).into_iter().for_each(|(row, diff)| *self.rows.entry(row).or_default() += diff);
        changes.errors.into_iter().for_each(|(error, diff)| *self.errors.entry(error).or_default() += diff);
        self.rows.retain(|_, diff| *diff != 0);
        self.errors.retain(|_, diff| *diff != 0);
    }

    /// With all that `operators` still have to say.
    fn rest(mut self, operators: &mut [Aggregate]) -> Self {
        for operator in operators {
            std::iter::from_fn(|| operator.rest()).for_each(|changes| self.add(changes));
        }
        self
    }

    fn and(mut self, other: Outcome) -> Self {
        other.rows.into_iter().for_each(|(row, diff)| *self.rows.entry(row).or_default() += diff);
        other.errors.into_iter().for_each(|(error, diff)| *self.errors.entry(error).or_default() += diff);
        self.add(Changes::default());
        self
    }
}

/// The rows of all results; none while one has an error.
fn snapshot(operators: &mut [Aggregate]) -> Option<Bag> {
    let mut all = Bag::new();
    for operator in operators {
        bag(&operator.snapshot()?).into_iter().for_each(|(row, diff)| *all.entry(row).or_default() += diff);
    }
    Some(all)
}

/// All rows that `operators` save, with the bytes of each state.
fn saved(operators: &mut [Aggregate]) -> (Vec<RecordBatch>, Bag) {
    let parts: Vec<RecordBatch> =
        operators.iter_mut().map(|operator| operator.save_groups().unwrap()).collect();
    let rows: Vec<_> = parts.iter().map(|part| (part.clone(), Run::Constant(1))).collect();
    (parts, bag(&rows))
}

/// A random tick later than `tick`.
pub(super) fn next(random: &mut StdRng, tick: Tick) -> Tick {
    tick + random.random_range(1..900)
}

impl Case {
    /// An aggregate after some ticks, without any that has more to say.
    pub fn run(&self, random: &mut StdRng) -> Aggregate {
        let mut operators = self.restarted(&[], 1);
        let (mut tick, mut present) = (500, vec![0; POOL_ROWS]);
        for _ in 0..4 {
            tick = next(random, tick);
            let changes = self.changes(random, &mut present);
            self.tick(&mut operators, tick, &changes).rest(&mut operators);
        }
        operators.swap_remove(0)
    }
}

#[test]
fn a_restart_changes_nothing() {
    for seed in 0..600 {
        let mut random = StdRng::seed_from_u64(seed);
        let case = Case::new(&mut random);
        let [before, after] = [random.random_range(1..4), random.random_range(1..4)];
        let context = |tick: Tick| format!("seed {seed}, tick {tick}, {before} to {after}: {:?}", case.spec);
        let mut straight = case.restarted(&[], before);
        let (mut tick, mut present) = (500, vec![0; POOL_ROWS]);
        for _ in 0..random.random_range(0..9) {
            Outcome::default().rest(&mut straight);
            tick = next(&mut random, tick);
            let changes = case.changes(&mut random, &mut present);
            case.tick(&mut straight, tick, &changes);
        }
        if random.random_bool(0.5) {
            Outcome::default().rest(&mut straight);
        }
        let (parts, rows) = saved(&mut straight);
        let mut restarted = case.restarted(&parts, after);
        assert_eq!(saved(&mut restarted).1, rows, "{}", context(tick));
        assert_eq!(snapshot(&mut restarted), snapshot(&mut straight), "{}", context(tick));
        for _ in 0..9 {
            tick = next(&mut random, tick);
            let changes = case.changes(&mut random, &mut present);
            // Groups that had ended may still have to be retracted.
            let said = Outcome::default().rest(&mut straight);
            let expected = said.and(case.tick(&mut straight, tick, &changes)).rest(&mut straight);
            let actual = case.tick(&mut restarted, tick, &changes).rest(&mut restarted);
            assert_eq!(actual, expected, "{}", context(tick));
            assert_eq!(snapshot(&mut restarted), snapshot(&mut straight), "{}", context(tick));
            assert_eq!(saved(&mut restarted).1, saved(&mut straight).1, "{}", context(tick));
        }
    }
}
