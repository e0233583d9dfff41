//! The rows of one series, in order and by position.

use super::SERIES_ROWS_MAX;
use crate::delta::updates::Diff;

/// The most rows of a block.
const BLOCK_ROWS: usize = if cfg!(test) { 4 } else { 512 };

/// The bytes beyond which a block takes no more rows.
const BLOCK_BYTES: usize = 1 << 20;

/// Rows as bytes, in order, with their multiplicities. A row is at as many positions as it has copies.
///
/// In blocks, so that a row costs its bytes and four more, and one that comes at the end costs the logarithm of their
/// number. Positions are counted by blocks, from the nearer end.
#[derive(Debug, Default)]
pub struct Rows {
    blocks: Vec<Block>,
    len: usize,
    copies: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// Of each row; empty where all are 1.
    counts: Vec<Diff>,
    copies: usize,
}

/// Where a row is, or would be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    block: usize,
    index: usize,
    /// Copies of rows before it.
    pub position: usize,
    /// Its multiplicity; 0 if it is not there.
    pub count: Diff,
}

/// How many positions a multiplicity takes: not more than one more than a series may have.
pub fn copies(count: Diff) -> usize {
    usize::try_from(count).unwrap_or(0).min(SERIES_ROWS_MAX + 1)
}

/// The rows of some blocks by their positions, which ascend.
pub struct Walk<'a> {
    blocks: &'a [Block],
    /// Copies of the rows before the first of the blocks.
    before: usize,
    /// A row of it, and copies of those of it before that one.
    index: usize,
    within: usize,
}

impl<'a> Walk<'a> {
    /// The row at `position`, which is not before the last one asked for.
    pub fn at(&mut self, position: usize) -> Option<&'a [u8]> {
        loop {
            let block = self.blocks.first()?;
            let place = position.checked_sub(self.before)?;
            if place >= block.copies {
                self.blocks = &self.blocks[1..];
                self.before += block.copies;
                (self.index, self.within) = (0, 0);
                continue;
            }
            if block.counts.is_empty() {
                return Some(block.row(place));
            }
            while place >= self.within + copies(block.count(self.index)) {
                self.within += copies(block.count(self.index));
                self.index += 1;
            }
            return Some(block.row(self.index));
        }
    }
}

impl Block {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }

    fn row(&self, index: usize) -> &[u8] {
        &self.bytes[self.start(index)..self.ends[index] as usize]
    }

    fn count(&self, index: usize) -> Diff {
        self.counts.get(index).copied().unwrap_or(1)
    }

    /// Copies of the rows before `index`.
    fn copies_before(&self, index: usize) -> usize {
        if self.counts.is_empty() { index } else { self.counts[..index].iter().map(|c| copies(*c)).sum() }
    }

    /// The place of `row`, or where it belongs; and whether it is there.
    fn find(&self, row: &[u8]) -> (usize, bool) {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.row(middle).cmp(row) {
                std::cmp::Ordering::Equal => return (middle, true),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        (low, false)
    }

    fn set_count(&mut self, index: usize, count: Diff) {
        if self.counts.is_empty() && count != 1 {
            self.counts = vec![1; self.len()];
        }
        if let Some(known) = self.counts.get_mut(index) {
            *known = count;
        }
    }

    fn insert(&mut self, index: usize, row: &[u8], count: Diff) {
        let start = self.start(index);
        self.bytes.splice(start..start, row.iter().copied());
        self.ends.insert(index, start as u32);
        self.ends[index..].iter_mut().for_each(|end| *end += row.len() as u32);
        if !self.counts.is_empty() {
            self.counts.insert(index, 1);
        }
        self.set_count(index, count);
    }

    fn remove(&mut self, index: usize) {
        let (start, end) = (self.start(index), self.ends.remove(index));
        self.bytes.drain(start..end as usize);
        self.ends[index..].iter_mut().for_each(|other| *other -= end - start as u32);
        if !self.counts.is_empty() {
            self.counts.remove(index);
        }
    }

    /// Takes out the rows from `index` on.
    fn split(&mut self, index: usize) -> Block {
        let start = self.start(index);
        let mut tail = Block {
            bytes: self.bytes.split_off(start),
            ends: self.ends.split_off(index),
            counts: if self.counts.is_empty() { vec![] } else { self.counts.split_off(index) },
            copies: 0,
        };
        tail.ends.iter_mut().for_each(|end| *end -= start as u32);
        for half in [&mut *self, &mut tail] {
            half.copies = half.copies_before(half.len());
            half.shrink();
        }
        tail
    }

    fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// Bytes held.
    fn size(&self) -> usize {
        size_of::<Self>()
            + self.bytes.capacity()
            + self.ends.capacity() * size_of::<u32>()
            + self.counts.capacity() * size_of::<Diff>()
    }
}

impl Rows {
    /// How many distinct rows there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many positions there are.
    pub fn copies(&self) -> usize {
        self.copies
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Every row as often as it is there, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.blocks.iter().flat_map(|block| {
            (0..block.len())
                .flat_map(move |index| std::iter::repeat_n(block.row(index), copies(block.count(index))))
        })
    }

    /// Goes through the rows from `position` on, which is cheap near the end.
    pub fn walk(&self, position: usize) -> Walk<'_> {
        let (mut block, mut before) = (self.blocks.len(), self.copies);
        while block > 0 && before > position {
            block -= 1;
            before -= self.blocks[block].copies;
        }
        Walk { blocks: &self.blocks[block..], before, index: 0, within: 0 }
    }

    /// Where `row` is.
    pub fn find(&self, row: &[u8]) -> Found {
        let starts_before = |block: &Block| block.len() == 0 || block.row(0) <= row;
        let last = self.blocks.last().filter(|block| starts_before(block));
        let after = match last {
            Some(_) => self.blocks.len(),
            None => self.blocks.partition_point(starts_before),
        };
        let number = after.saturating_sub(1);
        let Some(block) = self.blocks.get(number) else {
            return Found { block: 0, index: 0, position: 0, count: 0 };
        };
        let (index, is_there) = block.find(row);
        let sum = |blocks: &[Block]| blocks.iter().map(|block| block.copies).sum::<usize>();
        let before = match number * 2 < self.blocks.len() {
            true => sum(&self.blocks[..number]),
            false => self.copies - sum(&self.blocks[number..]),
        };
        let count = if is_there { block.count(index) } else { 0 };
        Found { block: number, index, position: before + block.copies_before(index), count }
    }

    /// Changes the multiplicity of a row.
    pub fn add(&mut self, row: &[u8], diff: Diff) {
        let found = self.find(row);
        if self.blocks.is_empty() {
            self.blocks.push(Block::default());
            self.bytes += size_of::<Block>();
        }
        let number = if found.count == 0 { self.room(found) } else { found.block };
        let index =
            if number == found.block { found.index } else { found.index - self.blocks[found.block].len() };
        let block = &mut self.blocks[number];
        let size = block.size();
        let count = found.count + diff;
        match (found.count, count) {
            (0, 0) => {}
            (0, _) => block.insert(index, row, count),
            (_, 0) => block.remove(index),
            (_, _) => block.set_count(index, count),
        }
        block.copies = block.copies + copies(count) - copies(found.count);
        self.copies = self.copies + copies(count) - copies(found.count);
        self.len = self.len + usize::from(count != 0) - usize::from(found.count != 0);
        self.bytes = self.bytes + block.size() - size;
        if block.len() == 0 {
            self.bytes -= block.size();
            self.blocks.remove(number);
        }
    }

    /// Makes room for one row where it belongs: the block that takes it.
    fn room(&mut self, found: Found) -> usize {
        let Found { block: number, index, .. } = found;
        let block = &self.blocks[number];
        let is_full = block.len() >= BLOCK_ROWS || block.bytes.len() >= BLOCK_BYTES;
        if !is_full || block.len() < 2 {
            return number;
        }
        let size = block.size();
        // What comes at the end leaves full blocks behind.
        let at = if number + 1 == self.blocks.len() && index == self.blocks[number].len() {
            index
        } else {
            self.blocks[number].len() / 2
        };
        let tail = self.blocks[number].split(at);
        self.bytes = self.bytes + self.blocks[number].size() + tail.size() - size;
        self.blocks.insert(number + 1, tail);
        if index < at { number } else { number + 1 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn rows_are_found_by_value_and_by_position() {
        let mut random = StdRng::seed_from_u64(1);
        let (mut rows, mut model) = (Rows::default(), BTreeMap::<Vec<u8>, Diff>::new());
        for step in 0..3000 {
            let value = if random.random() { step } else { random.random_range(0..=step) };
            let mut row = (value as u16 / 8).to_be_bytes().to_vec();
            row.extend(std::iter::repeat_n(7, value % 3));
            let diff =
                if step % 1000 < 600 { random.random_range(-1..3) } else { random.random_range(-3..1) };
            let count = model.entry(row.clone()).or_default();
            let position = |model: &BTreeMap<Vec<u8>, Diff>| {
                model.range(..row.clone()).map(|(_, c)| copies(*c)).sum::<usize>()
            };
            let known = *count;
            *count += diff;
            let found = rows.find(&row);
            assert_eq!((found.position, found.count), (position(&model), known));
            rows.add(&row, diff);
            model.retain(|_, count| *count != 0);
            assert_eq!(rows.len(), model.len());
            if step % 50 == 0 {
                let all: Vec<&[u8]> = model
                    .iter()
                    .flat_map(|(row, count)| std::iter::repeat_n(&row[..], copies(*count)))
                    .collect();
                assert_eq!(rows.iter().collect::<Vec<_>>(), all);
                assert_eq!(rows.copies(), all.len());
                for first in [0, all.len() / 2, all.len()] {
                    let mut walk = rows.walk(first);
                    (first..all.len()).for_each(|at| assert_eq!(walk.at(at), Some(all[at])));
                    assert_eq!(walk.at(all.len()), None);
                }
                assert_eq!(rows.bytes(), rows.blocks.iter().map(Block::size).sum::<usize>());
            }
        }
    }
}
