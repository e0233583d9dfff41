//! What clients name by handles: few enough, and not for ever.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng;
use tonic::Status;

/// The most handles of a kind.
const HANDLES_MAX: usize = 10_000;

/// The most bytes that all of a kind keep.
const HANDLES_BYTES_MAX: usize = 64 << 20;

/// What an entry takes beside what it keeps.
const ENTRY_BYTES: usize = 256;

/// Things by handle. Handles are random: nobody can guess those of others.
pub(super) struct Handles<T> {
    kind: &'static str,
    /// Things not asked for that long are forgotten.
    lifetime: Duration,
    entries: Mutex<Entries<T>>,
}

struct Entries<T> {
    by_handle: HashMap<[u8; 16], Entry<T>>,
    bytes: usize,
}

struct Entry<T> {
    thing: T,
    bytes: usize,
    used: Instant,
}

impl<T: Clone> Handles<T> {
    /// Handles of what clients call `kind`, each kept for `lifetime` after its last use.
    pub fn new(kind: &'static str, lifetime: Duration) -> Self {
        Handles { kind, lifetime, entries: Mutex::new(Entries { by_handle: HashMap::new(), bytes: 0 }) }
    }

    /// A handle for `thing`, which keeps `bytes`.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED` at the limits.
    pub fn insert(&self, thing: T, bytes: usize) -> Result<Vec<u8>, Status> {
        let bytes = bytes + ENTRY_BYTES;
        let mut entries = self.entries();
        if !entries.fits(bytes) {
            entries.forget(self.lifetime);
        }
        if !entries.fits(bytes) {
            return Err(Status::resource_exhausted(format!(
                "there are too many open {}s: {HANDLES_MAX} of {HANDLES_BYTES_MAX} bytes together are allowed; close some, or try again later",
                self.kind
            )));
        }
        let handle: [u8; 16] = rand::rng().random();
        entries.bytes += bytes;
        entries.by_handle.insert(handle, Entry { thing, bytes, used: Instant::now() });
        Ok(handle.to_vec())
    }

    /// The thing of `handle`.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` where there is none, or none any more.
    pub fn get(&self, handle: &[u8]) -> Result<T, Status> {
        let mut entries = self.entries();
        let entry = <&[u8; 16]>::try_from(handle).ok().and_then(|h| entries.by_handle.get_mut(h));
        match entry.filter(|entry| entry.used.elapsed() < self.lifetime) {
            Some(entry) => {
                entry.used = Instant::now();
                Ok(entry.thing.clone())
            }
            None => Err(Status::not_found(format!(
                "there is no such {}; one is kept for {:?} after its last use",
                self.kind, self.lifetime
            ))),
        }
    }

    /// Puts `thing`, which keeps `bytes`, in the place of what `handle` names.
    pub fn replace(&self, handle: &[u8], thing: T, bytes: usize) -> Result<(), Status> {
        self.get(handle)?;
        let mut entries = self.entries();
        let bytes = bytes + ENTRY_BYTES;
        let before = entries.remove(handle);
        let is_full = !entries.fits(bytes);
        if let (Some((key, entry)), true) = (before, is_full) {
            entries.bytes += entry.bytes;
            entries.by_handle.insert(key, entry);
            return Err(Status::resource_exhausted("there is no memory for these parameters"));
        }
        if let Ok(key) = <[u8; 16]>::try_from(handle) {
            entries.bytes += bytes;
            entries.by_handle.insert(key, Entry { thing, bytes, used: Instant::now() });
        }
        Ok(())
    }

    /// Forgets what `handle` names; whether there was something.
    pub fn remove(&self, handle: &[u8]) -> bool {
        self.entries().remove(handle).is_some()
    }

    fn entries(&self) -> MutexGuard<'_, Entries<T>> {
        // Nothing panics while it holds the lock; what it guards is whole in any case.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Entries<T> {
    fn fits(&self, bytes: usize) -> bool {
        self.by_handle.len() < HANDLES_MAX && self.bytes + bytes <= HANDLES_BYTES_MAX
    }

    fn forget(&mut self, lifetime: Duration) {
        let bytes = &mut self.bytes;
        self.by_handle.retain(|_, entry| {
            let stays = entry.used.elapsed() < lifetime;
            *bytes -= if stays { 0 } else { entry.bytes };
            stays
        });
    }

    fn remove(&mut self, handle: &[u8]) -> Option<([u8; 16], Entry<T>)> {
        let (key, entry) = self.by_handle.remove_entry(handle)?;
        self.bytes -= entry.bytes;
        Some((key, entry))
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn a_thing_is_there_until_it_is_removed_or_forgotten() {
        let handles = Handles::new("thing", Duration::from_secs(60));
        let handle = handles.insert("a", 1).unwrap();
        assert_eq!(handles.get(&handle).unwrap(), "a");
        handles.replace(&handle, "b", 1).unwrap();
        assert_eq!(handles.get(&handle).unwrap(), "b");
        assert!(handles.remove(&handle) && !handles.remove(&handle));
        for wrong in [&handle[..], b"garbage", b""] {
            assert_eq!(handles.get(wrong).unwrap_err().code(), Code::NotFound);
        }
        let forgetful = Handles::new("thing", Duration::ZERO);
        let handle = forgetful.insert("a", 1).unwrap();
        assert_eq!(forgetful.get(&handle).unwrap_err().code(), Code::NotFound);
    }

    #[test]
    fn number_and_bytes_are_bounded_and_what_is_forgotten_makes_room() {
        let handles = Handles::new("thing", Duration::from_secs(60));
        for _ in 0..HANDLES_MAX {
            handles.insert((), 0).unwrap();
        }
        assert_eq!(handles.insert((), 0).unwrap_err().code(), Code::ResourceExhausted);
        let large = Handles::new("thing", Duration::from_secs(60));
        let handle = large.insert((), HANDLES_BYTES_MAX - ENTRY_BYTES).unwrap();
        assert_eq!(large.insert((), 0).unwrap_err().code(), Code::ResourceExhausted);
        assert_eq!(
            large.replace(&handle, (), HANDLES_BYTES_MAX).unwrap_err().code(),
            Code::ResourceExhausted
        );
        assert!(large.remove(&handle) && large.insert((), 0).is_ok());
        let forgetful = Handles::new("thing", Duration::ZERO);
        for _ in 0..2 * HANDLES_MAX {
            forgetful.insert((), 0).unwrap();
        }
    }
}
