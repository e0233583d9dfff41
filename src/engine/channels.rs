//! All channels between threads, each with its bound.

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Change;
use super::worker::Command;

/// Commands that may wait for a worker; a full channel holds back the sender.
const COMMANDS_MAX: usize = 64;

/// Ticks that a subscriber may fall behind before it is let go.
const CHANGES_MAX: usize = 1024;

/// Commands to one worker.
pub(super) fn commands() -> (Sender<Command>, Receiver<Command>) {
    bounded(COMMANDS_MAX)
}

/// One reply of each of `workers` workers.
pub(super) fn replies<R>(workers: usize) -> (Sender<R>, Receiver<R>) {
    bounded(workers)
}

/// Changes to one subscriber.
pub(super) fn changes() -> (Sender<Change>, Receiver<Change>) {
    bounded(CHANGES_MAX)
}
