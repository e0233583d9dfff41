//! Cancel requests: another connection names a session by its id and proves it with its secret.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The sessions that can be cancelled.
#[derive(Clone, Default)]
pub(super) struct Cancels {
    sessions: Arc<Mutex<HashMap<i32, Entry>>>,
    next_id: Arc<AtomicI32>,
}

/// The secret of a session, and what tells it.
type Entry = (i32, Arc<Notify>);

/// A session that can be cancelled until it is dropped.
pub(super) struct Cancellable {
    /// What the client calls the process id.
    pub id: i32,
    /// What it proves itself with.
    pub secret: i32,
    notify: Arc<Notify>,
    cancels: Cancels,
}

impl Cancels {
    /// A new session.
    pub fn register(&self) -> Cancellable {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & i32::MAX;
        let session =
            Cancellable { id, secret: rand::random(), notify: Arc::default(), cancels: self.clone() };
        let entry = (session.secret, session.notify.clone());
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(id, entry);
        session
    }

    /// Cancels what session `id` does at this moment, if `secret` is its secret.
    pub fn cancel(&self, id: i32, secret: i32) {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, notify)) = sessions.get(&id).filter(|(own, _)| *own == secret) {
            notify.notify_waiters();
        }
    }
}

impl Cancellable {
    /// What returns once a cancel request has come after this call.
    pub fn cancelled(&self) -> impl Future<Output = ()> + use<> {
        self.notify.clone().notified_owned()
    }
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        self.cancels.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
