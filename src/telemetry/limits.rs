//! What a record and a request may be at most.

use std::time::{Duration, SystemTime};

/// Bounds of what is decoded. A record beyond one of them is rejected, alone, with a row in `ingest_errors`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Attributes of one resource, span, link, event, data point, exemplar or log record.
    pub attributes_max: usize,
    /// Buckets, bounds, quantiles or exemplars of one data point, each counted by itself.
    pub elements_max: usize,
    /// Levels of arrays and key-value lists inside one attribute value or log body.
    pub nesting_max: usize,
    /// The earliest event time accepted, in nanoseconds since 1970 UTC. A time before it is most often a clock that
    /// was never set, or seconds where nanoseconds belong.
    pub event_time_ns_min: i64,
    /// The latest event time accepted, in nanoseconds since 1970 UTC. One record from the far future would otherwise
    /// close every window before it.
    pub event_time_ns_max: i64,
    /// Bytes of a rejected record kept in `ingest_errors.sample`.
    pub sample_bytes_max: usize,
    /// Bytes of one request, uncompressed. A larger one is rejected whole. At most
    /// [`Limits::REQUEST_BYTES_MAX`]; more is taken for that.
    pub request_bytes_max: usize,
    /// Bytes buffered for one table between two calls of `Decoder::finish`; records that arrive above it are
    /// rejected. It keeps Arrow's 32-bit offsets from overflowing when a small request unfolds into much, as many
    /// spans sharing a large resource do. Callers finish long before. At most [`Limits::TABLE_BYTES_MAX`]; more is
    /// taken for that.
    pub table_bytes_max: usize,
}

impl Limits {
    /// How far ahead of the receiver's clock an event may be: a day, which covers every time zone mistake.
    pub const EVENT_TIME_AHEAD_MAX: Duration = Duration::from_secs(24 * 60 * 60);
    /// What `request_bytes_max` may be at most. Text of one record grows sixfold at worst, when control characters
    /// are escaped, so that 512 MiB and one more record stay below the 2 GiB that Arrow's offsets can tell.
    pub const REQUEST_BYTES_MAX: usize = 128 << 20;
    /// What `table_bytes_max` may be at most.
    pub const TABLE_BYTES_MAX: usize = 512 << 20;
    /// 2000-01-01T00:00:00Z.
    pub const EVENT_TIME_NS_MIN: i64 = 946_684_800_000_000_000;

    /// The year 2162: a century, the longest interval of a window, can be added to any event time.
    pub const EVENT_TIME_NS_MAX: i64 = i64::MAX - 100 * 366 * 86_400_000_000_000;

    /// These limits, with what would let Arrow's offsets overflow brought down to what does not.
    pub(super) fn sound(self) -> Limits {
        Limits {
            request_bytes_max: self.request_bytes_max.min(Limits::REQUEST_BYTES_MAX),
            table_bytes_max: self.table_bytes_max.min(Limits::TABLE_BYTES_MAX),
            ..self
        }
    }

    /// The default limits at a moment: events up to [`Limits::EVENT_TIME_AHEAD_MAX`] after `now` are accepted.
    pub fn at(now: SystemTime) -> Limits {
        let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let latest = since_1970.saturating_add(Limits::EVENT_TIME_AHEAD_MAX).as_nanos();
        let latest = i64::try_from(latest).unwrap_or(i64::MAX).min(Limits::EVENT_TIME_NS_MAX);
        Limits { event_time_ns_max: latest, ..Limits::default() }
    }
}

impl Default for Limits {
    /// The limits without a clock: no event is too late, but for the last century that can be told.
    fn default() -> Limits {
        Limits {
            attributes_max: 1024,
            elements_max: 65_536,
            nesting_max: 32,
            event_time_ns_min: Limits::EVENT_TIME_NS_MIN,
            event_time_ns_max: Limits::EVENT_TIME_NS_MAX,
            sample_bytes_max: 256,
            request_bytes_max: Limits::REQUEST_BYTES_MAX,
            table_bytes_max: Limits::TABLE_BYTES_MAX,
        }
    }
}
