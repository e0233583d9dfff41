//! Groups that leave the result when their time has come.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;

use arrow::array::{RecordBatch, UInt32Array};

use crate::delta::operator::Part;
use crate::delta::row_store::bytes_of;
use crate::delta::stats::Counters;
use crate::delta::temporal_condition::{Bound, spans};
use crate::delta::temporal_filter::RELEASE_ROWS_MAX;
use crate::delta::updates::{Tick, take_rows};

/// When each group ends: conditions on `now()` over columns that depend on the group alone.
pub(super) struct Expiry {
    bounds: Vec<Bound>,
    /// Groups by the tick from which they are gone.
    calendar: BTreeMap<Tick, Vec<Due>>,
    /// Those that have ended and are not taken yet.
    ended: VecDeque<Due>,
}

/// Groups that end together: their columns and their numbers.
pub(super) struct Due {
    pub keys: RecordBatch,
    pub groups: Vec<u32>,
    /// The tick from which they are gone.
    pub until: Tick,
}

impl Expiry {
    /// No groups yet; without `bounds` none ever ends.
    pub fn new(bounds: Vec<Bound>) -> Self {
        Expiry { bounds, calendar: BTreeMap::new(), ended: VecDeque::new() }
    }

    /// Whether no group ever ends.
    pub fn is_never(&self) -> bool {
        self.bounds.is_empty()
    }

    /// Those rows of `part` whose group has not ended at `tick`, and when it does. The others are
    /// counted as late.
    pub fn current(&self, (rows, diffs): Part, tick: Tick, counters: &Counters) -> (Part, Vec<Tick>) {
        let spans = spans(&self.bounds, &rows);
        let is_late = |row: &usize| spans[*row].1 <= tick && spans[*row].0 < spans[*row].1;
        let late = (0..spans.len()).filter(|row| diffs.get(*row) > 0 && is_late(row)).count();
        counters.late_rows.fetch_add(late as u64, Ordering::Relaxed);
        let current: Vec<u32> = (0..spans.len() as u32).filter(|row| spans[*row as usize].1 > tick).collect();
        let untils = current.iter().map(|row| spans[*row as usize].1).collect();
        if current.len() == spans.len() {
            return ((rows, diffs), untils);
        }
        let diffs = diffs.take(&current);
        ((take_rows(&rows, &UInt32Array::from(current)), diffs), untils)
    }

    /// Notes that the groups numbered `groups`, of columns `keys`, end at `untils`: never where that is [`Tick::MAX`].
    pub fn add(&mut self, keys: &RecordBatch, groups: &[u32], untils: &[Tick]) {
        let mut by_until: BTreeMap<Tick, Vec<u32>> = BTreeMap::new();
        for (row, until) in untils.iter().enumerate() {
            by_until.entry(*until).or_default().push(row as u32);
        }
        for (until, rows) in by_until {
            let groups = rows.iter().map(|row| groups[*row as usize]).collect();
            let due = Due { keys: take_rows(keys, &UInt32Array::from(rows)), groups, until };
            self.calendar.entry(until).or_default().push(due);
        }
    }

    /// Ends the groups whose time has come at `tick`.
    pub fn end(&mut self, tick: Tick) {
        while let Some(entry) = self.calendar.first_entry().filter(|e| *e.key() <= tick) {
            self.ended.extend(entry.remove());
        }
    }

    /// Whether groups have ended that are not taken yet.
    pub fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// The next portion of groups that have ended: at most [`RELEASE_ROWS_MAX`].
    pub fn take(&mut self) -> Vec<Due> {
        let mut portion = vec![];
        let mut room = RELEASE_ROWS_MAX;
        while room > 0 {
            let Some(mut due) = self.ended.pop_front() else { break };
            if due.groups.len() > room {
                let rest = due.groups.split_off(room);
                let keys = due.keys.slice(room, rest.len());
                self.ended.push_front(Due { keys, groups: rest, ..due });
                due.keys = due.keys.slice(0, room);
            }
            room -= due.groups.len();
            portion.push(due);
        }
        portion
    }

    /// The tick at which the next group ends.
    pub fn due(&self) -> Option<Tick> {
        self.calendar.first_key_value().map(|(until, _)| *until).filter(|until| *until < Tick::MAX)
    }

    /// The tick at which each of the groups below `groups` ends, in the past where it is not taken yet; none for one
    /// that was taken.
    pub fn untils(&self, groups: usize) -> Vec<Option<Tick>> {
        let mut untils = vec![None; groups];
        for due in self.calendar.values().flatten().chain(&self.ended) {
            due.groups.iter().for_each(|group| untils[*group as usize] = Some(due.until));
        }
        untils
    }

    /// Forgets all groups but `kept` (ascending), which are numbered from 0 in that order. All that have ended are
    /// taken.
    pub fn retain(&mut self, kept: &[u32]) {
        for due in self.calendar.values_mut().flatten() {
            let places: Vec<Result<usize, usize>> =
                due.groups.iter().map(|group| kept.binary_search(group)).collect();
            let rows: Vec<u32> =
                (0..places.len() as u32).filter(|row| places[*row as usize].is_ok()).collect();
            due.groups = places.into_iter().flatten().map(|place| place as u32).collect();
            if rows.len() < due.keys.num_rows() {
                due.keys = take_rows(&due.keys, &UInt32Array::from(rows));
            }
        }
        self.calendar.retain(|_, due| due.iter().any(|d| !d.groups.is_empty()));
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let all = self.calendar.values().flatten().chain(&self.ended);
        all.map(|due| bytes_of(&due.keys) + due.groups.len() * 4).sum()
    }
}
