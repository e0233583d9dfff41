//! Sorted runs of updates in Arrow form: what arrangements are made of.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::array::{DynComparator, make_comparator};
use arrow::compute::interleave;
use differential_dataflow::trace::chunk::Chunk;
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

use super::hash::hash_rows;
use super::row_store::{bytes_of, concatenate};
use super::updates::{Diff, Run, Tick, Updates, columnless};

/// The most updates in one chunk.
const CHUNK_ROWS: usize = if cfg!(test) { 8 } else { 8192 };

/// Updates sorted by (hash of the row, row, time) without two of the same row and time.
///
/// Shared, and readable from any thread: a list of chunks is a table.
#[derive(Clone)]
pub struct ArrowChunk {
    body: Arc<Body>,
}

struct Body {
    hashes: Vec<u64>,
    updates: Updates,
}

/// The place of an update: which of the sources, and the row in it.
type Place = (usize, usize);

impl Default for ArrowChunk {
    fn default() -> Self {
        ArrowChunk { body: Arc::new(Body { hashes: vec![], updates: Updates::default() }) }
    }
}

impl ArrowChunk {
    /// The updates, in the order of the chunk.
    pub fn updates(&self) -> &Updates {
        &self.body.updates
    }

    /// Bytes held, where nobody else holds the same.
    pub fn bytes(&self) -> usize {
        // A hash, a time and a diff beside each row.
        bytes_of(&self.body.updates.rows) + self.body.hashes.len() * 24
    }

    /// `parts` sorted and consolidated, in chunks of at most the usual size.
    pub fn form(parts: &[Updates]) -> Vec<ArrowChunk> {
        let parts: Vec<ArrowChunk> = parts
            .iter()
            .filter(|p| !p.is_empty())
            .map(|p| ArrowChunk { body: Arc::new(Body { hashes: hash_rows(&p.rows), updates: p.clone() }) })
            .collect();
        let sources = Sources::new(&parts);
        let mut places: Vec<(u64, Place)> = parts
            .iter()
            .enumerate()
            .flat_map(|(part, chunk)| {
                chunk.body.hashes.iter().enumerate().map(move |(row, h)| (*h, (part, row)))
            })
            .collect();
        places.sort_unstable_by(|(h1, a), (h2, b)| h1.cmp(h2).then_with(|| sources.compare(*a, *b)));
        let mut output = Output::new(&sources);
        places.into_iter().for_each(|(_, place)| output.push(place, sources.diff(place)));
        output.finish()
    }

    fn hash(&self, row: usize) -> u64 {
        self.body.hashes[row]
    }

    /// The updates from `row` on as a chunk of their own.
    fn suffix(&self, row: usize) -> ArrowChunk {
        self.slice(row, self.len() - row)
    }

    fn slice(&self, offset: usize, len: usize) -> ArrowChunk {
        let updates = &self.body.updates;
        ArrowChunk {
            body: Arc::new(Body {
                hashes: self.body.hashes[offset..offset + len].to_vec(),
                updates: Updates {
                    rows: updates.rows.slice(offset, len),
                    times: updates.times.slice(offset, len),
                    diffs: updates.diffs.slice(offset, len),
                },
            }),
        }
    }
}

/// Several chunks addressed by [`Place`]; rows are compared only where hashes are equal.
struct Sources<'a> {
    chunks: &'a [ArrowChunk],
    comparators: std::cell::RefCell<hashbrown::HashMap<(usize, usize), Vec<DynComparator>>>,
}

impl<'a> Sources<'a> {
    fn new(chunks: &'a [ArrowChunk]) -> Self {
        Sources { chunks, comparators: Default::default() }
    }

    fn diff(&self, (chunk, row): Place) -> Diff {
        self.chunks[chunk].body.updates.diffs.get(row)
    }

    fn time(&self, (chunk, row): Place) -> Tick {
        self.chunks[chunk].body.updates.times.get(row)
    }

    fn compare_rows(&self, a: Place, b: Place) -> Ordering {
        let (left, right) = (&self.chunks[a.0], &self.chunks[b.0]);
        let by_hash = left.hash(a.1).cmp(&right.hash(b.1));
        if by_hash.is_ne() {
            return by_hash;
        }
        let mut comparators = self.comparators.borrow_mut();
        let comparators = comparators.entry((a.0, b.0)).or_insert_with(|| {
            let columns = left.body.updates.rows.columns().iter().zip(right.body.updates.rows.columns());
            columns
                .map(|(l, r)| make_comparator(l, r, Default::default()).expect("columns that can be ordered"))
                .collect()
        });
        comparators.iter().map(|c| c(a.1, b.1)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    }

    fn compare(&self, a: Place, b: Place) -> Ordering {
        self.compare_rows(a, b).then_with(|| self.time(a).cmp(&self.time(b)))
    }
}

/// Picks of places in order, gathered once an output chunk is full.
struct Output<'a, 's> {
    sources: &'s Sources<'a>,
    places: Vec<Place>,
    times: Vec<Tick>,
    diffs: Vec<Diff>,
    chunks: Vec<ArrowChunk>,
}

impl<'a, 's> Output<'a, 's> {
    fn new(sources: &'s Sources<'a>) -> Self {
        Output { sources, places: vec![], times: vec![], diffs: vec![], chunks: vec![] }
    }

    fn push(&mut self, place: Place, diff: Diff) {
        self.push_at(place, self.sources.time(place), diff);
    }

    /// Adds an update not before those pushed so far; equal to the last one, it is summed with it.
    fn push_at(&mut self, place: Place, time: Tick, diff: Diff) {
        if let (Some(last), Some(last_time)) = (self.places.last(), self.times.last())
            && *last_time == time
            && self.sources.compare_rows(*last, place).is_eq()
        {
            if let Some(sum) = self.diffs.last_mut() {
                *sum += diff;
            }
            return;
        }
        self.drop_cancelled();
        if self.places.len() == CHUNK_ROWS {
            self.flush();
        }
        self.places.push(place);
        self.times.push(time);
        self.diffs.push(diff);
    }

    fn drop_cancelled(&mut self) {
        if self.diffs.last() == Some(&0) {
            self.places.pop();
            self.times.pop();
            self.diffs.pop();
        }
    }

    fn flush(&mut self) {
        if self.places.is_empty() {
            return;
        }
        let places = std::mem::take(&mut self.places);
        let hashes = places.iter().map(|(chunk, row)| self.sources.chunks[*chunk].hash(*row)).collect();
        let rows = gather(self.sources.chunks, &places);
        let updates = Updates {
            rows,
            times: Run::from_vec(std::mem::take(&mut self.times)),
            diffs: Run::from_vec(std::mem::take(&mut self.diffs)),
        };
        self.chunks.push(ArrowChunk { body: Arc::new(Body { hashes, updates }) });
    }

    fn finish(mut self) -> Vec<ArrowChunk> {
        self.drop_cancelled();
        self.flush();
        self.chunks
    }
}

/// The rows at `places`, in that order.
fn gather(chunks: &[ArrowChunk], places: &[Place]) -> RecordBatch {
    let schema = chunks[places[0].0].body.updates.rows.schema();
    if schema.fields().is_empty() {
        return columnless(schema, places.len());
    }
    let columns = (0..schema.fields().len()).map(|column| {
        let arrays: Vec<&dyn Array> =
            chunks.iter().map(|c| c.body.updates.rows.column(column).as_ref()).collect();
        interleave(&arrays, places).expect("places inside the chunks")
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).expect("columns of the chunks' schema")
}

impl Chunk for ArrowChunk {
    type Time = Tick;

    const TARGET: usize = CHUNK_ROWS;

    fn len(&self) -> usize {
        self.body.hashes.len()
    }

    fn merge(in1: &mut VecDeque<Self>, in2: &mut VecDeque<Self>, out: &mut VecDeque<Self>) {
        let (Some(left), Some(right)) = (in1.pop_front(), in2.pop_front()) else { return };
        let chunks = [left, right];
        let sources = Sources::new(&chunks);
        let mut output = Output::new(&sources);
        let mut next = [0, 0];
        while next[0] < chunks[0].len() && next[1] < chunks[1].len() {
            match sources.compare((0, next[0]), (1, next[1])) {
                Ordering::Less => {
                    output.push((0, next[0]), sources.diff((0, next[0])));
                    next[0] += 1;
                }
                Ordering::Greater => {
                    output.push((1, next[1]), sources.diff((1, next[1])));
                    next[1] += 1;
                }
                Ordering::Equal => {
                    let diff = sources.diff((0, next[0])) + sources.diff((1, next[1]));
                    output.push((0, next[0]), diff);
                    next = [next[0] + 1, next[1] + 1];
                }
            }
        }
        out.extend(output.finish());
        for (side, input) in [in1, in2].into_iter().enumerate() {
            if next[side] < chunks[side].len() {
                input.push_front(chunks[side].suffix(next[side]));
            }
        }
    }

    fn extract(
        input: &mut VecDeque<Self>,
        frontier: AntichainRef<Tick>,
        residual: &mut Antichain<Tick>,
        keep: &mut VecDeque<Self>,
        ship: &mut VecDeque<Self>,
    ) {
        let Some(chunk) = input.pop_front() else { return };
        let sources_of = [chunk];
        let sources = Sources::new(&sources_of);
        let (mut kept, mut shipped) = (Output::new(&sources), Output::new(&sources));
        for row in 0..sources_of[0].len() {
            let (place, time) = ((0, row), sources.time((0, row)));
            let side = if frontier.less_equal(&time) {
                residual.insert(time);
                &mut kept
            } else {
                &mut shipped
            };
            side.push(place, sources.diff(place));
        }
        keep.extend(kept.finish());
        ship.extend(shipped.finish());
    }

    fn advance(
        input: &mut VecDeque<Self>,
        frontier: AntichainRef<Tick>,
        done: bool,
        out: &mut VecDeque<Self>,
    ) {
        let chunks: Vec<ArrowChunk> = input.drain(..).collect();
        let Some(last_chunk) = chunks.last() else { return };
        let sources = Sources::new(&chunks);
        // The last row may go on in a chunk to come: withhold it, unless there is none.
        let last = (chunks.len() - 1, last_chunk.len() - 1);
        let mut withheld = None;
        let mut output = Output::new(&sources);
        'all: for (index, chunk) in chunks.iter().enumerate() {
            for row in 0..chunk.len() {
                let place = (index, row);
                if !done && sources.compare_rows(place, last).is_eq() {
                    withheld = Some(place);
                    break 'all;
                }
                let time = sources.time(place);
                let time = frontier.first().map_or(time, |since| time.max(*since));
                output.push_at(place, time, sources.diff(place));
            }
        }
        out.extend(output.finish());
        if let Some((index, row)) = withheld {
            input.push_back(chunks[index].suffix(row));
            input.extend(chunks[index + 1..].iter().cloned());
        }
    }

    fn settle(input: &mut VecDeque<Self>, done: bool, out: &mut VecDeque<Self>) {
        // Runs that fit in one chunk are joined in one copy each; `pack` would copy once a chunk.
        let mut run: Vec<ArrowChunk> = vec![];
        let mut len = 0;
        while let Some(chunk) = input.pop_front() {
            if len + chunk.len() > CHUNK_ROWS {
                out.extend(join(&std::mem::take(&mut run)));
                len = 0;
            }
            len += chunk.len();
            run.push(chunk);
        }
        match done {
            true => out.extend(join(&run)),
            false => input.extend(run),
        }
    }
}

/// Consecutive chunks as one.
fn join(run: &[ArrowChunk]) -> Option<ArrowChunk> {
    match run {
        [] => None,
        [only] => Some(only.clone()),
        [first, ..] => {
            let updates = || run.iter().map(|c| &c.body.updates);
            let rows =
                concatenate(&first.body.updates.rows.schema(), run.iter().map(|c| &c.body.updates.rows));
            let times = updates().flat_map(|u| (0..u.len()).map(|i| u.times.get(i))).collect();
            let diffs = updates().flat_map(|u| (0..u.len()).map(|i| u.diffs.get(i))).collect();
            let hashes = run.iter().flat_map(|c| c.body.hashes.iter().copied()).collect();
            let updates = Updates { rows, times: Run::from_vec(times), diffs: Run::from_vec(diffs) };
            Some(ArrowChunk { body: Arc::new(Body { hashes, updates }) })
        }
    }
}

/// The rows of `chunks` (sorted runs, one after the other or not) that are there at `tick`, each with
/// its positive multiplicity; a negative sum is a row that is not there.
pub fn rows_at(chunks: &[ArrowChunk], tick: Tick) -> Vec<(RecordBatch, Run<Diff>)> {
    let is_plain = |c: &ArrowChunk| {
        matches!(&c.body.updates.diffs, Run::Constant(d) if *d > 0)
            && matches!(&c.body.updates.times, Run::Constant(t) if *t <= tick)
    };
    if chunks.iter().all(is_plain) {
        return chunks.iter().map(|c| (c.body.updates.rows.clone(), c.body.updates.diffs.clone())).collect();
    }
    let sources = Sources::new(chunks);
    let mut places: Vec<(u64, Place)> = chunks
        .iter()
        .enumerate()
        .flat_map(|(index, chunk)| (0..chunk.len()).map(move |row| (chunk.hash(row), (index, row))))
        .filter(|(_, place)| sources.time(*place) <= tick)
        .collect();
    // Runs that are already sorted make this a merge.
    places.sort_by(|(h1, a), (h2, b)| h1.cmp(h2).then_with(|| sources.compare_rows(*a, *b)));
    let mut output = Output::new(&sources);
    places.into_iter().for_each(|(_, place)| output.push_at(place, tick, sources.diff(place)));
    let chunks = output.finish();
    chunks
        .into_iter()
        .map(|chunk| {
            let updates = &chunk.body.updates;
            let picks: Vec<u32> =
                (0..updates.len() as u32).filter(|i| updates.diffs.get(*i as usize) > 0).collect();
            let updates = if picks.len() == updates.len() { updates.clone() } else { updates.take(&picks) };
            (updates.rows, updates.diffs)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use differential_dataflow::trace::chunk::{ChunkBatch, ChunkSpine};
    use differential_dataflow::trace::{Description, Trace, TraceReader};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use timely::dataflow::operators::generic::OperatorInfo;

    use super::*;
    use crate::delta::testing::{Bag, bag, batch};

    fn updates(rng: &mut StdRng, tick: Tick) -> Updates {
        let len = rng.random_range(0..30);
        let rows: Vec<(i64, &str)> =
            (0..len).map(|_| (rng.random_range(0..6), ["a", "b", "c"][rng.random_range(0..3)])).collect();
        let diffs = (0..len).map(|_| if rng.random_bool(0.5) { 1 } else { -1 }).collect();
        let times = (0..len).map(|_| tick + rng.random_range(0..3)).collect();
        Updates { rows: batch(&rows), times: Run::from_vec(times), diffs: Run::from_vec(diffs) }
    }

    fn is_sorted_and_consolidated(chunks: &[ArrowChunk]) -> bool {
        let sources = Sources::new(chunks);
        let places: Vec<Place> =
            chunks.iter().enumerate().flat_map(|(c, chunk)| (0..chunk.len()).map(move |r| (c, r))).collect();
        places.windows(2).all(|w| sources.compare(w[0], w[1]).is_lt())
            && places.iter().all(|place| sources.diff(*place) != 0)
    }

    fn positive(mut bag: Bag) -> Bag {
        bag.retain(|_, diff| *diff > 0);
        bag
    }

    /// A spine of chunks, merged and compacted as it goes, holds what was put in at every tick.
    #[test]
    fn a_spine_equals_its_input() {
        for seed in 0..40 {
            let mut rng = StdRng::seed_from_u64(seed);
            let info = OperatorInfo::new(0, 0, std::rc::Rc::from([0usize]));
            let mut spine: ChunkSpine<ArrowChunk> = Trace::new(info, None, None);
            let mut all: Vec<(RecordBatch, Run<Diff>)> = vec![];
            for round in 0..12u64 {
                let (lower, upper) = (round * 3, round * 3 + 3);
                let input = updates(&mut rng, lower);
                all.push((input.rows.clone(), input.diffs.clone()));
                let chunks = ArrowChunk::form(&[input]);
                assert!(is_sorted_and_consolidated(&chunks), "seed {seed}, round {round}");
                let bounds = |t: Tick| Antichain::from_elem(t);
                let description = Description::new(bounds(lower), bounds(upper), bounds(0));
                spine.insert(std::rc::Rc::new(ChunkBatch::new(chunks, description)));
                spine.set_logical_compaction(AntichainRef::new(&[upper - 1]));
                spine.set_physical_compaction(AntichainRef::new(&[upper - 1]));
                spine.exert();
                let mut chunks = vec![];
                spine.map_batches(|batch| {
                    assert!(is_sorted_and_consolidated(&batch.chunks), "seed {seed}, round {round}");
                    chunks.extend(batch.chunks.iter().cloned());
                });
                let actual = bag(&rows_at(&chunks, upper - 1));
                assert_eq!(actual, positive(bag(&all)), "seed {seed}, round {round}");
            }
        }
    }

    #[test]
    fn extraction_keeps_what_is_not_before_the_frontier() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut input: VecDeque<_> = ArrowChunk::form(&[updates(&mut rng, 5), updates(&mut rng, 5)]).into();
        let len: usize = input.iter().map(Chunk::len).sum();
        let (mut keep, mut ship, mut residual) = (VecDeque::new(), VecDeque::new(), Antichain::new());
        while !input.is_empty() {
            let frontier = [6];
            ArrowChunk::extract(
                &mut input,
                AntichainRef::new(&frontier),
                &mut residual,
                &mut keep,
                &mut ship,
            );
        }
        let times = |side: &VecDeque<ArrowChunk>| -> Vec<Tick> {
            side.iter().flat_map(|c| (0..c.len()).map(|i| c.updates().times.get(i))).collect()
        };
        assert!(times(&keep).iter().all(|t| *t >= 6) && times(&ship).iter().all(|t| *t < 6));
        assert_eq!(times(&keep).len() + times(&ship).len(), len);
        assert_eq!(residual.elements(), [6]);
    }
}
