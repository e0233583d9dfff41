//! Who sends telemetry, as the stream clock tells senders apart.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::engine::{Live, SOURCES_MAX, Source};

/// One source for each address that sends by a protocol. Connections are too short-lived to be told apart: a client
/// that opens one for each request would leave behind as many sources, each holding the clock back until it counts as
/// idle. Of more than [`SOURCES_MAX`] addresses the one that was silent longest is forgotten; it becomes a new source
/// when it comes back.
pub(super) struct Sources {
    live: Live,
    known: Mutex<HashMap<IpAddr, Known>>,
}

struct Known {
    source: Source,
    used: Instant,
}

impl Sources {
    /// None so far.
    pub fn new(live: Live) -> Self {
        Sources { live, known: Mutex::default() }
    }

    /// The source at `address`, which sends at `now`.
    pub fn of(&self, address: IpAddr, now: Instant) -> Source {
        let address = address.to_canonical();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SOURCES_MAX && !known.contains_key(&address) {
            let longest = known.iter().min_by_key(|(_, known)| known.used).map(|(address, _)| *address);
            longest.map(|address| known.remove(&address));
        }
        let known = known.entry(address).or_insert_with(|| Known { source: self.live.source(), used: now });
        known.used = now;
        known.source.clone()
    }
}
