//! Places at which the process can be made to end, as if it were killed there.
//!
//! With the environment variable `UNDERCURRENT_CRASH_AT=journal.written:3` it aborts when it comes to that place for the
//! third time. So a test can end it between any two steps, and see that nothing is lost or doubled. Without the variable a
//! place costs a comparison.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The environment variable.
pub const VARIABLE: &str = "UNDERCURRENT_CRASH_AT";

/// All places.
pub const POINTS: [&str; 22] = [
    "journal.taken",
    "journal.written",
    "journal.synced",
    "journal.shortening",
    "journal.shortened",
    "history.writing",
    "history.written",
    "history.emptying",
    "history.trimming",
    "checkpoint.written",
    "checkpoint.committed",
    "engine.flushed",
    "engine.closing",
    "engine.closed",
    "engine.trimmed",
    "source.read",
    "source.sent",
    "source.committed",
    "sink.begun",
    "sink.produced",
    "sink.positioned",
    "sink.committed",
];

/// Where the process is to end.
struct Fault {
    point: String,
    /// How often it still passes, and the last of these times.
    left: AtomicU64,
}

fn parse(text: &str) -> Option<Fault> {
    let (point, count) = text.split_once(':').unwrap_or((text, "1"));
    let left = AtomicU64::new(count.parse().ok().filter(|count| *count > 0)?);
    POINTS.contains(&point).then(|| Fault { point: point.to_owned(), left })
}

/// The process is at `name`, one of [`POINTS`].
pub fn point(name: &'static str) {
    static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
    debug_assert!(POINTS.contains(&name), "{name} is no place");
    let fault = FAULT.get_or_init(|| std::env::var(VARIABLE).ok().as_deref().and_then(parse));
    if let Some(fault) = fault.as_ref().filter(|fault| fault.point == name)
        && fault.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_and_a_count_are_read() {
        let read = |text| parse(text).map(|fault| (fault.point, fault.left.into_inner()));
        assert_eq!(read("sink.begun"), Some(("sink.begun".to_owned(), 1)));
        assert_eq!(read("sink.begun:12"), Some(("sink.begun".to_owned(), 12)));
        for wrong in ["sink", "sink.begun:0", "sink.begun:x", ""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
