//! Files in memory that fail when told to, and that forget at a crash what was not synced.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::Rng;
use rand::rngs::StdRng;

use crate::journal::{Files, Output};

/// What fails next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A write, after so many of its bytes.
    Write(usize, ErrorKind),
    /// A sync of a file.
    Sync,
    /// Taking the end of a file away.
    Truncate,
    /// A new file.
    Create(ErrorKind),
    /// A file in the place of another.
    Replace(ErrorKind),
    /// A sync of the names.
    SyncNames,
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// How many of them survive a crash.
    synced: usize,
    is_named: bool,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Content>,
    faults: VecDeque<Fault>,
}

#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<State>>);

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test thread has panicked")
    }

    /// Lets the next operation of its kind fail, after those that were told before.
    pub fn fail(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    pub fn heal(&self) {
        self.state().faults.clear();
    }

    pub fn file_names(&self) -> Vec<String> {
        self.state().files.keys().cloned().collect()
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.state().files[name].bytes.clone()
    }

    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let content = Content { synced: bytes.len(), bytes, is_named: true };
        self.state().files.insert(name.to_owned(), content);
    }

    pub fn take_away(&self, name: &str) {
        self.state().files.remove(name);
    }

    /// A copy of all files.
    pub fn copy(&self) -> Memory {
        let state = State { files: self.state().files.clone(), faults: VecDeque::new() };
        Memory(Arc::new(Mutex::new(state)))
    }

    /// What the files may be after the power has failed: of what was not synced any part is there, its bytes zero here
    /// and there.
    pub fn crashed(&self, random: &mut StdRng) -> Memory {
        let copy = self.copy();
        let mut state = copy.state();
        state.files.retain(|_, content| content.is_named || random.random());
        for content in state.files.values_mut() {
            let kept = random.random_range(content.synced..=content.bytes.len());
            content.bytes.truncate(kept);
            if random.random() && kept > content.synced {
                let from = random.random_range(content.synced..kept);
                let to = random.random_range(from..=kept);
                content.bytes[from..to].fill(0);
            }
            (content.synced, content.is_named) = (kept, true);
        }
        drop(state);
        copy
    }
}

impl State {
    /// The fault that is next, if `is_meant`.
    fn fault(&mut self, is_meant: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let fault = self.faults.front().copied().filter(is_meant)?;
        self.faults.pop_front();
        Some(fault)
    }

    fn file(&mut self, name: &str) -> io::Result<&mut Content> {
        self.files.get_mut(name).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Files for Memory {
    fn path(&self, name: &str) -> String {
        format!("data/{name}")
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.file_names())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.state().file(name)?.bytes.clone())
    }

    fn head(&self, name: &str, bytes_max: usize) -> io::Result<(Vec<u8>, u64)> {
        let bytes = Files::read(self, name)?;
        Ok((bytes[..bytes.len().min(bytes_max)].to_vec(), bytes.len() as u64))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Output>> {
        let mut state = self.state();
        if let Some(Fault::Create(kind)) = state.fault(|fault| matches!(fault, Fault::Create(_))) {
            return Err(kind.into());
        }
        state.files.insert(name.to_owned(), Content::default());
        Ok(Box::new(Opened { files: self.clone(), name: name.to_owned() }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Output>> {
        self.state().file(name)?;
        Ok(Box::new(Opened { files: self.clone(), name: name.to_owned() }))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if let Some(Fault::Replace(kind)) = self.state().fault(|fault| matches!(fault, Fault::Replace(_))) {
            return Err(kind.into());
        }
        self.put(name, bytes.to_vec());
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state().files.remove(name).map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.fault(|fault| *fault == Fault::SyncNames).is_some() {
            return Err(ErrorKind::Other.into());
        }
        state.files.values_mut().for_each(|content| content.is_named = true);
        Ok(())
    }
}

struct Opened {
    files: Memory,
    name: String,
}

impl Output for Opened {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.files.state();
        let fault = state.fault(|fault| matches!(fault, Fault::Write(..)));
        let content = state.file(&self.name)?;
        match fault {
            Some(Fault::Write(count, kind)) => {
                content.bytes.extend(&bytes[..count.min(bytes.len())]);
                Err(kind.into())
            }
            _ => {
                content.bytes.extend(bytes);
                Ok(())
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.files.state();
        if state.fault(|fault| *fault == Fault::Sync).is_some() {
            return Err(ErrorKind::Other.into());
        }
        let content = state.file(&self.name)?;
        content.synced = content.bytes.len();
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.files.state();
        if state.fault(|fault| *fault == Fault::Truncate).is_some() {
            return Err(ErrorKind::Other.into());
        }
        let content = state.file(&self.name)?;
        content.bytes.truncate(length as usize);
        content.synced = content.synced.min(length as usize);
        Ok(())
    }
}
