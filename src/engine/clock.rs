//! The stream clock: how far event time has come, over all that sends telemetry.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The most sources told apart; those beyond share one.
pub const SOURCES_MAX: usize = 1024;

/// One that sends telemetry, as the clock tells them apart.
pub type SourceId = u64;

/// The source that all share who come when there are [`SOURCES_MAX`].
const SHARED: SourceId = u64::MAX;

/// How the clock follows its sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockOptions {
    /// How far behind the latest event of its source an event may be and still count as in time.
    pub disorder: Duration,
    /// After this long without an event a source holds the clock back no longer.
    pub idle: Duration,
    /// Whether the clock follows the wall clock while all sources are idle; else it stands still.
    pub follows_wall: bool,
    /// How far ahead of the wall clock an event can take the clock, so that one sender whose clock is
    /// wrong does not end everybody's windows. `None` for recorded or simulated time.
    pub ahead_max: Option<Duration>,
}

impl Default for ClockOptions {
    fn default() -> Self {
        ClockOptions {
            disorder: Duration::from_secs(2),
            idle: Duration::from_secs(10),
            follows_wall: true,
            ahead_max: Some(Duration::from_secs(60)),
        }
    }
}

/// The least, over the sources that are not idle, of the latest event time seen less the disorder
/// allowed; it never goes back.
pub struct StreamClock {
    options: ClockOptions,
    sources: HashMap<SourceId, Latest>,
    /// Milliseconds since 1970 UTC.
    now_ms: u64,
    /// When a source was first expected.
    expected_since: Option<Instant>,
}

struct Latest {
    event_ms: u64,
    seen: Instant,
}

impl StreamClock {
    /// A clock at 1970.
    pub fn new(options: ClockOptions) -> Self {
        StreamClock { options, sources: HashMap::new(), now_ms: 0, expected_since: None }
    }

    /// Takes note of an event of `source` at `event_ns`, received at `seen`, when the wall clock showed
    /// `wall_ms`.
    pub fn observe(&mut self, source: SourceId, event_ns: i64, seen: Instant, wall_ms: u64) {
        let bound = self.options.ahead_max.map_or(u64::MAX, |ahead| wall_ms + ahead.as_millis() as u64);
        let event_ms = ((event_ns / 1_000_000).max(0) as u64).min(bound);
        let is_known = self.sources.contains_key(&source);
        let source = if is_known || self.sources.len() < SOURCES_MAX { source } else { SHARED };
        let latest = self.sources.entry(source).or_insert(Latest { event_ms, seen });
        latest.event_ms = latest.event_ms.max(event_ms);
        // It may have been expected since: what it sent had to become durable first.
        latest.seen = latest.seen.max(seen);
    }

    /// `source`, which has rows that are not here yet, holds the clock where it is until they come, or it is idle.
    pub fn expect(&mut self, source: SourceId, seen: Instant) {
        self.expected_since = self.expected_since.or(Some(seen));
        let is_known = self.sources.contains_key(&source);
        let source = if is_known || self.sources.len() < SOURCES_MAX { source } else { SHARED };
        let latest = self.sources.entry(source).or_insert(Latest { event_ms: 0, seen });
        latest.seen = latest.seen.max(seen);
    }

    /// Whether the clock has not moved yet, since sources are expected that were not heard of. What comes meanwhile should
    /// wait: dated before the clock moves, it would be as old as the clock goes far.
    pub fn is_waiting(&self, at: Instant) -> bool {
        let is_recent = |since: Instant| at.saturating_duration_since(since) < self.options.idle;
        // Not for longer than anybody is waited for: a source that cannot be reached hides nothing.
        self.now_ms == 0
            && self.expected_since.is_some_and(is_recent)
            && self.sources.values().any(|latest| latest.event_ms == 0 && is_recent(latest.seen))
    }

    /// Nothing comes of `source` any more.
    pub fn forget(&mut self, source: SourceId) {
        self.sources.remove(&source);
    }

    /// The stream time at `at`, when the wall clock shows `wall_ms`; in milliseconds since 1970 UTC.
    pub fn now(&mut self, at: Instant, wall_ms: u64) -> u64 {
        let idle = self.options.idle;
        self.sources.retain(|_, latest| at.saturating_duration_since(latest.seen) < idle);
        let disorder_ms = self.options.disorder.as_millis() as u64;
        let slowest = self.sources.values().map(|latest| latest.event_ms.saturating_sub(disorder_ms)).min();
        let wall = self.options.follows_wall.then_some(wall_ms);
        self.now_ms = self.now_ms.max(slowest.or(wall).unwrap_or(0));
        self.now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn clock(follows_wall: bool, ahead_max: Option<Duration>) -> StreamClock {
        let (disorder, idle) = (2 * SECOND, 10 * SECOND);
        StreamClock::new(ClockOptions { disorder, idle, follows_wall, ahead_max })
    }

    fn ns(ms: u64) -> i64 {
        ms as i64 * 1_000_000
    }

    #[test]
    fn the_slowest_source_holds_the_clock_back_until_it_is_idle() {
        let (mut clock, start) = (clock(true, None), Instant::now());
        clock.observe(1, ns(100_000), start, 200_000);
        clock.observe(2, ns(50_000), start, 200_000);
        assert_eq!(clock.now(start, 200_000), 48_000);
        clock.observe(1, ns(120_000), start + 9 * SECOND, 209_000);
        assert_eq!(clock.now(start + 9 * SECOND, 209_000), 48_000);
        // The second source has been silent for ten seconds.
        assert_eq!(clock.now(start + 10 * SECOND, 210_000), 118_000);
        // It comes back with old events: the clock waits for it and does not go back.
        clock.observe(2, ns(60_000), start + 11 * SECOND, 211_000);
        assert_eq!(clock.now(start + 11 * SECOND, 211_000), 118_000);
    }

    #[test]
    fn when_all_are_idle_the_clock_follows_the_wall_or_stands_still() {
        let start = Instant::now();
        for (follows_wall, expected) in [(true, 500_000), (false, 98_000)] {
            let mut clock = clock(follows_wall, None);
            clock.observe(1, ns(100_000), start, 200_000);
            assert_eq!(clock.now(start, 200_000), 98_000);
            assert_eq!(clock.now(start + 60 * SECOND, 500_000), expected);
        }
    }

    #[test]
    fn events_of_the_future_take_the_clock_only_a_bounded_way() {
        let (mut clock, start) = (clock(true, Some(60 * SECOND)), Instant::now());
        clock.observe(1, i64::MAX, start, 1_000_000);
        assert_eq!(clock.now(start, 1_000_000), 1_058_000);
        clock.observe(1, i64::MIN, start, 1_000_000);
        assert_eq!(clock.now(start, 1_000_000), 1_058_000);
    }

    #[test]
    fn a_source_that_is_behind_holds_the_clock_before_its_first_event() {
        let (mut clock, start) = (clock(true, None), Instant::now());
        clock.expect(2, start);
        clock.observe(1, ns(100_000), start, 200_000);
        assert!(clock.is_waiting(start) && !clock.is_waiting(start + 10 * SECOND));
        assert_eq!(clock.now(start, 200_000), 0);
        clock.observe(2, ns(90_000), start + SECOND, 201_000);
        assert_eq!(clock.now(start + SECOND, 201_000), 88_000);
        assert!(!clock.is_waiting(start + SECOND));
        // One that goes holds back nothing, and one of which nothing comes is idle one day.
        clock.expect(4, start + SECOND);
        clock.forget(4);
        assert_eq!(clock.now(start + SECOND, 201_000), 88_000);
        clock.expect(3, start + SECOND);
        clock.observe(1, ns(150_000), start + 11 * SECOND, 211_000);
        assert_eq!(clock.now(start + 11 * SECOND, 211_000), 148_000);
    }

    #[test]
    fn what_a_source_sent_before_it_was_expected_does_not_make_it_idle() {
        let (mut clock, start) = (clock(true, None), Instant::now());
        clock.observe(2, ns(90_000), start, 200_000);
        clock.expect(2, start + 9 * SECOND);
        // It had to become durable first.
        clock.observe(2, ns(90_000), start + 2 * SECOND, 209_000);
        clock.observe(1, ns(140_000), start + 13 * SECOND, 213_000);
        assert_eq!(clock.now(start + 13 * SECOND, 213_000), 88_000);
    }

    #[test]
    fn sources_beyond_the_limit_share_one() {
        let (mut clock, start) = (clock(true, None), Instant::now());
        (0..3 * SOURCES_MAX as u64).for_each(|source| clock.observe(source, ns(100_000), start, 0));
        assert_eq!(clock.sources.len(), SOURCES_MAX + 1);
    }
}
