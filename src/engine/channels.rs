//! All channels between threads, each with its bound.

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::{mpsc, watch};

use super::connectors::Connectors;
use super::live::{Control, Durable, Item};
use super::subscription::Change;
use super::worker::Command;

/// Commands that may wait for a worker; a full channel holds back the sender.
const COMMANDS_MAX: usize = 64;

/// Statements that may wait for the thread that owns the database.
const CONTROLS_MAX: usize = 256;

/// Requests of telemetry that may wait for it.
const ITEMS_MAX: usize = 16_384;

/// Ticks that a subscriber may fall behind before it is let go.
pub(super) const CHANGES_MAX: usize = 1024;

/// Commands to one worker.
pub(super) fn commands() -> (Sender<Command>, Receiver<Command>) {
    bounded(COMMANDS_MAX)
}

/// One reply of each of `workers` workers.
pub(super) fn replies<R>(workers: usize) -> (Sender<R>, Receiver<R>) {
    bounded(workers)
}

/// Changes to one subscriber.
pub(super) fn changes() -> (mpsc::Sender<Change>, mpsc::Receiver<Change>) {
    mpsc::channel(CHANGES_MAX)
}

/// Statements for the thread that owns the database.
pub(super) fn controls() -> (mpsc::Sender<Control>, mpsc::Receiver<Control>) {
    mpsc::channel(CONTROLS_MAX)
}

/// Telemetry for the thread that owns the database; its bytes are bounded besides.
pub(super) fn intake() -> (mpsc::Sender<Item>, mpsc::Receiver<Item>) {
    mpsc::channel(ITEMS_MAX)
}

/// What the journal has made durable of that; its bytes are bounded by the same.
pub(super) fn durable() -> (mpsc::UnboundedSender<Durable>, mpsc::UnboundedReceiver<Durable>) {
    mpsc::unbounded_channel()
}

/// The sources and sinks that there are; only the latest word counts.
pub(super) fn connectors() -> watch::Sender<Connectors> {
    watch::Sender::default()
}
