//! Since when the optimum has held each of its change points.
//!
//! The optimum of a prefix is that of a shorter one and a segment, so that the optima of all prefixes are a
//! tree. Here is the way from the newest prefix to the root, each change point with the prefix from which on
//! it has been on the way without a break. Going from one prefix to the next costs as many steps as change
//! points come and go: none, nearly always.

/// One change point of an optimum, and by `below` those before it. Never changed, so that going back is
/// cheap.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    certain_len: u32,
    /// Number of the entry before, plus one; 0 for none.
    below: u32,
}

/// What is needed to go back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    entries: usize,
    top: u32,
}

/// The change points of the newest prefix, and those that earlier ones had.
#[derive(Clone, Debug)]
pub(super) struct Certain {
    entries: Vec<Entry>,
    /// Number of the last change point's entry, plus one; 0 for none.
    top: u32,
    /// Change points that come with the newest prefix, the last first: kept only for its memory.
    coming: Vec<u32>,
}

impl Certain {
    pub(super) fn new() -> Self {
        Self { entries: vec![], top: 0, coming: vec![] }
    }

    fn entry(&self, number: u32) -> Option<Entry> {
        self.entries.get((number as usize).wrapping_sub(1)).copied()
    }

    /// Goes on to the prefix of length `end`, all of whose parents are known.
    pub(super) fn push(&mut self, parents: &[u32], end: usize) {
        let mut start = parents[end];
        self.coming.clear();
        loop {
            while let Some(entry) = self.entry(self.top).filter(|entry| entry.start > start) {
                self.top = entry.below;
            }
            if start == 0 || self.entry(self.top).is_some_and(|entry| entry.start == start) {
                break;
            }
            self.coming.push(start);
            start = parents[start as usize];
        }
        while let Some(start) = self.coming.pop() {
            self.entries.push(Entry { start, certain_len: end as u32, below: self.top });
            self.top = self.entries.len() as u32;
        }
    }

    /// The change points of the newest prefix and since which prefix they are certain, the last first.
    pub(super) fn entries(&self) -> impl Iterator<Item = (usize, usize)> {
        let top = self.entry(self.top);
        let all = std::iter::successors(top, |entry| self.entry(entry.below));
        all.map(|entry| (entry.start as usize, entry.certain_len as usize))
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { entries: self.entries.len(), top: self.top }
    }

    pub(super) fn rewind(&mut self, mark: Mark) {
        self.entries.truncate(mark.entries);
        self.top = mark.top;
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.coming.capacity() * size_of::<u32>()
    }
}
