//! One series and what its functions know of it.

use std::ops::Range;

use arrow::array::{Array, AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::exec_datafusion_err;
use datafusion::error::{DataFusionError, Result as DataFusionResult};

use super::function::{Edit, SeriesState};
use super::output::Output;
use super::rows::{Rows, copies};
use super::{Codec, PORTION_ROWS, SERIES_ROWS_MAX, SeriesCall};
use crate::delta::expression::{guarded, message};
use crate::delta::ordered_rows::{Arrivals, Change};
use crate::delta::updates::Diff;

/// How often the rows of a series are moved for the edits of a tick, rather than that all is computed anew.
const MOVES_MAX: usize = if cfg!(test) { 4 } else { 256 };

/// A series: its rows, and a state of each function.
#[derive(Default)]
pub struct Kept {
    /// The bytes of its partition's key.
    pub key: Box<[u8]>,
    pub rows: Rows,
    states: States,
    /// Bytes held, when it was last looked at.
    pub bytes: usize,
    /// Models computed by the states there are, when they were last looked at.
    fits: u64,
}

/// What is known of the rows of a series.
#[derive(Default)]
enum States {
    /// There are none.
    #[default]
    None,
    /// A state of each function.
    Live(Vec<Box<dyn SeriesState>>),
    /// The rows have no results but this error.
    Failed(String),
}

/// What a tick changes about one series.
pub struct Touched<'a> {
    pub arrivals: &'a Arrivals,
    pub changes: &'a [Change],
    /// What functions read of the rows of each part.
    pub arguments: &'a [Arguments],
}

/// What each function reads of some rows.
pub struct Arguments(Vec<Read>);

struct Read {
    places: Int64Array,
    values: Float64Array,
    hashes: Option<Int64Array>,
}

impl Arguments {
    pub fn of(calls: &[SeriesCall], rows: &RecordBatch) -> DataFusionResult<Self> {
        let read = |call: &SeriesCall| {
            let integers = |column: usize| -> DataFusionResult<Int64Array> {
                Ok(cast(rows.column(column), &DataType::Int64)?.as_primitive::<Int64Type>().clone())
            };
            let values = cast(rows.column(call.value), &DataType::Float64)?;
            Ok(Read {
                places: integers(call.place)?,
                values: values.as_primitive::<Float64Type>().clone(),
                hashes: call.hash.map(integers).transpose()?,
            })
        };
        Ok(Arguments(calls.iter().map(read).collect::<DataFusionResult<_>>()?))
    }

    /// The place and the value that function `call` reads of a row.
    fn at(&self, call: usize, row: usize) -> (Option<i64>, f64) {
        let Read { places, values, .. } = &self.0[call];
        let place = places.is_valid(row).then(|| places.value(row));
        (place, if values.is_valid(row) { values.value(row) } else { f64::NAN })
    }

    /// The hash of the series that the first row is of, as function `call` reads it.
    fn hash(&self, call: usize) -> u64 {
        self.0[call].hashes.as_ref().and_then(|hashes| hashes.iter().next().flatten()).unwrap_or(0) as u64
    }
}

/// A row that is looked at: where it is before and after a tick.
struct Looked {
    before: Option<usize>,
    after: Option<usize>,
    /// Which change it comes or goes by.
    change: Option<usize>,
}

impl Kept {
    /// Carries out what a tick changes, and says what is different about the results.
    pub fn change(
        &mut self,
        touched: &Touched,
        calls: &[SeriesCall],
        codec: &Codec,
        output: &mut Output,
    ) -> DataFusionResult<()> {
        let is_followed = guarded(|| Ok(self.follow(touched, calls.len(), output)));
        if is_followed.unwrap_or(false) {
            touched.apply(&mut self.rows);
            if self.rows.copies() == 0 {
                self.states = States::None;
                self.fits = 0;
            }
            return Ok(());
        }
        output.give_up();
        self.recompute(touched, calls, codec, output)
    }

    /// Has each state follow the changes; `false` where all is to be computed anew.
    fn follow(&mut self, touched: &Touched, calls: usize, output: &mut Output) -> bool {
        let States::Live(states) = &mut self.states else { return false };
        let (edits, changes) = touched.edits(&self.rows);
        let inserted = edits.iter().fold(0, |sum: usize, edit| sum.saturating_add(edit.inserted));
        let removed: usize = edits.iter().map(|edit| edit.removed).sum();
        // A state moves what is behind each edit.
        let moved = edits.iter().fold(0, |sum: usize, e| sum.saturating_add(self.rows.copies() - e.position));
        if (self.rows.copies() - removed).saturating_add(inserted) > SERIES_ROWS_MAX
            || moved / MOVES_MAX > self.rows.copies()
        {
            return false;
        }
        let mut by_call: Vec<Vec<Edit>> = vec![edits; calls];
        let mut affected = vec![];
        for (call, (state, edits)) in states.iter_mut().zip(&mut by_call).enumerate() {
            for (edit, change) in edits.iter_mut().zip(&changes) {
                (edit.place, edit.value) = touched.read(*change, call);
            }
            let Some(ranges) = state.affected(edits) else { return false };
            affected.extend(ranges);
        }
        let looked = looked(affected, &by_call[0], &changes, self.rows.copies());
        let (mut before, mut after) = (vec![], vec![]);
        for position in looked.iter().filter_map(|row| row.before) {
            states.iter_mut().for_each(|state| state.result(position, &mut before));
        }
        states.iter_mut().zip(&by_call).for_each(|(state, edits)| state.apply(edits));
        for position in looked.iter().filter_map(|row| row.after) {
            states.iter_mut().for_each(|state| state.result(position, &mut after));
        }
        let (mut before, mut after) = (before.chunks(output.width), after.chunks(output.width));
        let mut walk = self.rows.walk(looked.iter().find_map(|row| row.before).unwrap_or(usize::MAX));
        for row in looked {
            let sides = [row.before.and_then(|_| before.next()), row.after.and_then(|_| after.next())];
            if is_same(sides) {
                continue;
            }
            let bytes = row.change.map(|change| touched.arrivals.row(&touched.changes[change]));
            let bytes = bytes.or_else(|| walk.at(row.before?));
            bytes.into_iter().for_each(|bytes| output.row(bytes, sides));
        }
        true
    }

    /// All results before and after the changes, as those of new states.
    fn recompute(
        &mut self,
        touched: &Touched,
        calls: &[SeriesCall],
        codec: &Codec,
        output: &mut Output,
    ) -> DataFusionResult<()> {
        self.fits = 0;
        match std::mem::take(&mut self.states) {
            States::None => {}
            States::Failed(error) => output.errors.push((error, -1)),
            States::Live(_) => {
                // They may have been left halfway.
                guarded(|| self.compute(calls, codec, output, -1))?;
                output.keep();
            }
        }
        touched.apply(&mut self.rows);
        if self.rows.copies() == 0 {
            return Ok(());
        }
        self.states = match guarded(|| self.compute(calls, codec, output, 1)) {
            Ok(states) => States::Live(states),
            Err(error) => {
                output.give_up();
                output.errors.push((message(&error), 1));
                States::Failed(message(&error))
            }
        };
        Ok(())
    }

    /// New states of all rows, and their results with `diff`.
    fn compute(
        &self,
        calls: &[SeriesCall],
        codec: &Codec,
        output: &mut Output,
        diff: Diff,
    ) -> DataFusionResult<Vec<Box<dyn SeriesState>>> {
        let count = self.rows.copies();
        if count > SERIES_ROWS_MAX {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "a partition has more than {SERIES_ROWS_MAX} rows; partition by more columns, or set a horizon"
            )));
        }
        let rows: Vec<&[u8]> = self.rows.iter().collect();
        let mut edits: Vec<Vec<Edit>> = vec![Vec::with_capacity(count); calls.len()];
        let mut hashes = vec![0; calls.len()];
        // Not all at once: a column of texts has a limit.
        for portion in rows.chunks(PORTION_ROWS) {
            let batch = codec.decode(portion.iter().map(|row| (&*self.key, *row)))?;
            let arguments = Arguments::of(calls, &batch)?;
            for (call, edits) in edits.iter_mut().enumerate() {
                hashes[call] = arguments.hash(call);
                edits.extend((0..portion.len()).map(|row| {
                    let (place, value) = arguments.at(call, row);
                    Edit::first(place, value)
                }));
            }
        }
        let mut states = vec![];
        for ((call, edits), hash) in calls.iter().zip(&edits).zip(hashes) {
            let mut state = call.function.begin(hash);
            state.apply(edits);
            states.push(state);
        }
        let mut numbers = Vec::with_capacity(output.width);
        for (position, row) in rows.into_iter().enumerate() {
            numbers.clear();
            states.iter_mut().for_each(|state| state.result(position, &mut numbers));
            if numbers.len() != output.width {
                return Err(exec_datafusion_err!("a function of a series gives a wrong number of numbers"));
            }
            output.row(row, if diff < 0 { [Some(&numbers), None] } else { [None, Some(&numbers)] });
        }
        Ok(states)
    }

    /// The error that stands for its results.
    pub fn error(&self) -> Option<&str> {
        match &self.states {
            States::Failed(error) => Some(error),
            States::Live(_) | States::None => None,
        }
    }

    /// Models computed since this was last asked.
    pub fn new_fits(&mut self) -> u64 {
        let fits = match &self.states {
            States::Live(states) => states.iter().map(|state| state.fits()).sum(),
            States::None | States::Failed(_) => 0,
        };
        fits.saturating_sub(std::mem::replace(&mut self.fits, fits))
    }

    /// Bytes held now.
    pub fn size(&self) -> usize {
        let states = match &self.states {
            States::Live(states) => states.iter().map(|state| state.bytes()).sum(),
            States::Failed(error) => error.len(),
            States::None => 0,
        };
        size_of::<Self>() + self.key.len() + self.rows.bytes() + states
    }
}

/// Whether a row is there before and after, with the same results.
fn is_same(sides: [Option<&[f64]>; 2]) -> bool {
    let [Some(before), Some(after)] = sides else { return false };
    let is_equal = |(before, after): (&f64, &f64)| {
        before.to_bits() == after.to_bits() || before.is_nan() && after.is_nan()
    };
    before.len() == after.len() && before.iter().zip(after).all(is_equal)
}

impl Touched<'_> {
    /// The changes as edits of `rows`, each beside the number of its change.
    fn edits(&self, rows: &Rows) -> (Vec<Edit>, Vec<usize>) {
        let edit = |(number, change): (usize, &Change)| {
            let found = rows.find(self.arrivals.row(change));
            let (before, after) = (copies(found.count), copies(found.count + change.diff));
            let edit = Edit {
                // The last copies go, and new ones come behind them.
                position: found.position + before.min(after),
                removed: before.saturating_sub(after),
                inserted: after.saturating_sub(before),
                place: None,
                value: f64::NAN,
            };
            (before != after).then_some((edit, number))
        };
        self.changes.iter().enumerate().filter_map(edit).unzip()
    }

    fn read(&self, change: usize, call: usize) -> (Option<i64>, f64) {
        let (part, row) = self.arrivals.origin(&self.changes[change]);
        self.arguments[part].at(call, row)
    }

    fn apply(&self, rows: &mut Rows) {
        self.changes.iter().for_each(|change| rows.add(self.arrivals.row(change), change.diff));
    }
}

/// The rows that `edits` take out or put in, and of `count` rows those in `affected`, in order.
fn looked(mut affected: Vec<Range<usize>>, edits: &[Edit], changes: &[usize], count: usize) -> Vec<Looked> {
    affected.sort_unstable_by_key(|range| range.start);
    let mut looked = vec![];
    let (mut inserted, mut removed) = (0, 0);
    let mut edits = edits.iter().zip(changes).peekable();
    // All rows before this position are gone through.
    let mut seen = 0;
    for range in affected.into_iter().chain(std::iter::once(count..count + 1)) {
        for position in range.start.max(seen)..range.end {
            if position < seen {
                continue;
            }
            while let Some((edit, change)) = edits.next_if(|(edit, _)| edit.position <= position) {
                let gone = edit.position..edit.position + edit.removed;
                looked.extend(gone.map(|at| Looked { before: Some(at), after: None, change: Some(*change) }));
                let first = edit.position + inserted - removed;
                let come = first..first + edit.inserted;
                looked.extend(come.map(|at| Looked { before: None, after: Some(at), change: Some(*change) }));
                inserted += edit.inserted;
                removed += edit.removed;
                seen = seen.max(edit.position + edit.removed);
            }
            if position >= seen && position < count {
                let after = Some(position + inserted - removed);
                looked.push(Looked { before: Some(position), after, change: None });
                seen = position + 1;
            }
        }
    }
    looked
}
