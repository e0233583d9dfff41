//! Which worker an update goes to.

use arrow::array::{RecordBatch, UInt32Array};
use timely::communication::Push;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pushers::exchange::Distributor;

use super::hash::hash_columns;
use super::updates::{Updates, take_rows};

/// How an operator's input is spread over the workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Each worker keeps what it has.
    Local,
    /// All to the first worker: what has no key has one place.
    First,
    /// By the hash of these columns; null is a value like any other.
    Columns(Vec<usize>),
}

impl Route {
    /// Those of `rows`, which worker `from` had, that worker `index` out of `peers` has.
    pub fn share(&self, rows: &RecordBatch, from: usize, index: usize, peers: usize) -> RecordBatch {
        let columns = match self {
            Route::Local if from % peers == index => return rows.clone(),
            Route::First if index == 0 => return rows.clone(),
            Route::Local | Route::First => return rows.slice(0, 0),
            Route::Columns(columns) => columns,
        };
        let keys: Vec<_> = columns.iter().map(|c| rows.column(*c).clone()).collect();
        let hashes = hash_columns(&keys, rows.num_rows());
        let mine = (0..rows.num_rows() as u32).filter(|row| target(hashes[*row as usize], peers) == index);
        take_rows(rows, &UInt32Array::from_iter_values(mine))
    }
}

/// The worker out of `peers` for a key of this hash.
fn target(hash: u64, peers: usize) -> usize {
    // The upper half: tables of the operators behind this use the lower one.
    ((hash >> 32) ^ hash) as usize % peers
}

/// Sends each update to its worker, batch by batch, without copying where one worker takes all.
pub struct Router {
    route: Route,
    index: usize,
    picks: Vec<Vec<u32>>,
}

impl Router {
    /// The router of worker `index` out of `peers`.
    pub fn new(route: Route, index: usize, peers: usize) -> Self {
        Router { route, index, picks: vec![Vec::new(); peers] }
    }
}

impl Distributor<Updates> for Router {
    fn partition<T: Clone, P: Push<Message<T, Updates>>>(
        &mut self,
        container: &mut Updates,
        time: &T,
        pushers: &mut [P],
    ) {
        let columns = match &self.route {
            Route::Local => return send(std::mem::take(container), time, &mut pushers[self.index]),
            Route::First => return send(std::mem::take(container), time, &mut pushers[0]),
            Route::Columns(columns) => columns,
        };
        let keys: Vec<_> = columns.iter().map(|c| container.rows.column(*c).clone()).collect();
        for (row, hash) in hash_columns(&keys, container.len()).into_iter().enumerate() {
            self.picks[target(hash, pushers.len())].push(row as u32);
        }
        for (picks, pusher) in self.picks.iter_mut().zip(pushers) {
            if picks.len() == container.len() {
                send(container.clone(), time, pusher);
            } else if !picks.is_empty() {
                send(container.take(picks), time, pusher);
            }
            picks.clear();
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Updates>>>(&mut self, _time: &T, _pushers: &mut [P]) {}
}

fn send<T: Clone, P: Push<Message<T, Updates>>>(mut updates: Updates, time: &T, pusher: &mut P) {
    if !updates.is_empty() {
        Message::push_at(&mut updates, time.clone(), pusher);
    }
}
