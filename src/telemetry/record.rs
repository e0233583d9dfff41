//! Records as they were read, borrowed from the request and not yet believed, and the checks they have to pass.
//!
//! Every check returns the value as its column takes it, or the reason why the record is rejected.

use std::borrow::Cow;

use jiff::Timestamp;

use super::Limits;

/// Why a record is rejected: lower case, the kind of thing, its value in quotes, what is allowed.
pub(super) type Reason = String;

/// A trace or span id as read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Id<'a> {
    #[default]
    Absent,
    /// Of JSON.
    Hex(Cow<'a, str>),
    /// Of protobuf.
    Bytes(&'a [u8]),
}

/// A valid id: `N` lower-case hex digits, not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HexId<const N: usize>([u8; N]);

pub(super) type TraceId = HexId<32>;
pub(super) type SpanId = HexId<16>;

impl<const N: usize> HexId<N> {
    #[inline]
    pub(super) fn as_str(&self) -> &str {
        // Hex digits are ASCII, so this is never the empty default.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The two hex digits of every byte.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};

/// Every byte as a lower-case hex digit, zero where it is none.
const LOWER: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let character = byte as u8;
        table[byte] = if character.is_ascii_hexdigit() { character.to_ascii_lowercase() } else { 0 };
        byte += 1;
    }
    table
};

impl<'a> Id<'a> {
    fn is_empty(&self) -> bool {
        match self {
            Id::Absent => true,
            Id::Hex(text) => text.is_empty(),
            Id::Bytes(bytes) => bytes.is_empty(),
        }
    }

    /// The digits, if there are `N` of them. They may be all zero.
    #[inline]
    fn digits<const N: usize>(&self) -> Option<[u8; N]> {
        let mut digits = [0; N];
        match self {
            Id::Absent => return None,
            Id::Bytes(bytes) => {
                if bytes.len() * 2 != N {
                    return None;
                }
                for (pair, &byte) in digits.chunks_exact_mut(2).zip(*bytes) {
                    pair.copy_from_slice(&HEX[usize::from(byte)]);
                }
            }
            Id::Hex(text) => {
                if text.len() != N {
                    return None;
                }
                let mut all_hex = true;
                for (digit, &character) in digits.iter_mut().zip(text.as_bytes()) {
                    *digit = LOWER[usize::from(character)];
                    all_hex &= *digit != 0;
                }
                if !all_hex {
                    return None;
                }
            }
        }
        Some(digits)
    }

    /// An id that must be there. `what` names it: `trace id`.
    #[inline]
    pub(super) fn required<const N: usize>(&self, what: &str) -> Result<HexId<N>, Reason> {
        match self.digits() {
            Some(digits) if digits != [b'0'; N] => Ok(HexId(digits)),
            _ => Err(self.fault(what, N)),
        }
    }

    /// An id that may be absent or, which the specification has receivers take for the same, all zero.
    #[inline]
    pub(super) fn optional<const N: usize>(&self, what: &str) -> Result<Option<HexId<N>>, Reason> {
        if self.is_empty() {
            return Ok(None);
        }
        match self.digits() {
            Some(digits) => Ok((digits != [b'0'; N]).then_some(HexId(digits))),
            None => Err(self.fault(what, N)),
        }
    }

    #[cold]
    fn fault(&self, what: &str, digits_expected: usize) -> Reason {
        let bytes_expected = digits_expected / 2;
        match self {
            _ if self.is_empty() => format!("{what} is missing"),
            Id::Absent => format!("{what} is missing"),
            Id::Bytes(bytes) if bytes.len() == bytes_expected => format!("{what} is all zero"),
            Id::Bytes(bytes) => {
                let hex: String = bytes.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
                format!("{what} \"{hex}\" has {} bytes, {bytes_expected} expected", bytes.len())
            }
            Id::Hex(text) => {
                let shown = Quoted(text);
                match text.chars().find(|character| !character.is_ascii_hexdigit()) {
                    Some(other) => format!(
                        "{what} {shown} holds {other:?}, {digits_expected} hex digits expected{}",
                        base64_hint(text, bytes_expected)
                    ),
                    None if text.len() == digits_expected => format!("{what} \"{text}\" is all zero"),
                    None => {
                        format!("{what} {shown} has {} hex digits, {digits_expected} expected", text.len())
                    }
                }
            }
        }
    }
}

/// Many a general protobuf printer writes ids in base64.
fn base64_hint(text: &str, bytes_expected: usize) -> &'static str {
    match super::text::base64(text) {
        Some(bytes) if bytes.len() == bytes_expected => {
            ". This looks like base64; OTLP JSON writes ids in hex."
        }
        _ => "",
    }
}

/// Text in quotes, cut where it is long.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const CHARACTERS_MAX: usize = 64;
        match self.0.char_indices().nth(CHARACTERS_MAX) {
            Some((end, _)) => write!(f, "{:?}...", &self.0[..end]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

/// Text that must not be empty.
#[inline]
pub(super) fn filled<'a>(what: &str, value: &'a str) -> Result<&'a str, Reason> {
    if value.is_empty() { Err(format!("{what} is missing")) } else { Ok(value) }
}

/// A number of nanoseconds since 1970 that fits the column.
#[inline]
pub(super) fn time(column: &str, time_ns: i128) -> Result<i64, Reason> {
    match i64::try_from(time_ns) {
        Ok(time_ns) if time_ns >= 0 => Ok(time_ns),
        _ => Err(time_fault(column, time_ns)),
    }
}

/// A time that is absent when zero.
#[inline]
pub(super) fn optional_time(column: &str, time_ns: i128) -> Result<Option<i64>, Reason> {
    if time_ns == 0 { Ok(None) } else { time(column, time_ns).map(Some) }
}

/// A time that windows and durations go by: there, and within the limits.
#[inline]
pub(super) fn event_time(column: &str, time_ns: i128, limits: &Limits) -> Result<i64, Reason> {
    match i64::try_from(time_ns) {
        Ok(time_ns) if limits.event_time_ns_min <= time_ns && time_ns <= limits.event_time_ns_max => {
            Ok(time_ns)
        }
        _ => Err(event_time_fault(column, time_ns, limits)),
    }
}

#[cold]
fn time_fault(column: &str, time_ns: i128) -> Reason {
    if time_ns < 0 {
        format!("{column} {time_ns} is negative, nanoseconds since 1970 expected")
    } else {
        format!("{column} {time_ns} is beyond {}, the last nanosecond that can be told", i64::MAX)
    }
}

#[cold]
fn event_time_fault(column: &str, time_ns: i128, limits: &Limits) -> Reason {
    if time_ns == 0 {
        return format!("{column} is missing");
    }
    let Ok(within) = time(column, time_ns).map(i128::from) else {
        return time_fault(column, time_ns);
    };
    let hint = match within {
        _ if accepted(within * 1_000, limits) => ". It would fit as microseconds; nanoseconds are expected.",
        _ if accepted(within * 1_000_000, limits) => {
            ". It would fit as milliseconds; nanoseconds are expected."
        }
        _ if accepted(within * 1_000_000_000, limits) => {
            ". It would fit as seconds; nanoseconds are expected."
        }
        _ if time_ns > i128::from(limits.event_time_ns_max) => ". Check the clock of the sender.",
        _ => "",
    };
    format!(
        "{column} {} is outside {} to {}{hint}",
        Moment(within as i64),
        Moment(limits.event_time_ns_min),
        Moment(limits.event_time_ns_max)
    )
}

fn accepted(time_ns: i128, limits: &Limits) -> bool {
    i128::from(limits.event_time_ns_min) <= time_ns && time_ns <= i128::from(limits.event_time_ns_max)
}

/// A time as text, in UTC.
pub(super) struct Moment(pub(super) i64);

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(timestamp) => timestamp.fmt(f),
            Err(_) => self.0.fmt(f),
        }
    }
}

/// A duration as text, in the largest unit that leaves a whole part.
pub(super) struct Nanoseconds(pub(super) u64);

impl std::fmt::Display for Nanoseconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ns @ 0..1_000 => write!(f, "{ns} ns"),
            ns @ 1_000..1_000_000 => write!(f, "{} µs", ns as f64 / 1e3),
            ns @ 1_000_000..1_000_000_000 => write!(f, "{} ms", ns as f64 / 1e6),
            ns => write!(f, "{} s", ns as f64 / 1e9),
        }
    }
}

/// A count that fits the column.
#[inline]
pub(super) fn count(column: &str, value: i128) -> Result<i64, Reason> {
    match i64::try_from(value) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(format!("{column} {value} is outside 0 to {}", i64::MAX)),
    }
}

/// A small integer that fits the column.
#[inline]
pub(super) fn small(column: &str, value: i128) -> Result<i32, Reason> {
    i32::try_from(value).map_err(|_| format!("{column} {value} is outside {} to {}", i32::MIN, i32::MAX))
}

/// The name of an enum's value.
#[inline]
pub(super) fn named(column: &str, value: i128, names: &[&'static str]) -> Result<&'static str, Reason> {
    let name = usize::try_from(value).ok().and_then(|value| names.get(value));
    match name {
        Some(name) => Ok(name),
        None => Err(format!("{column} {value} is outside 0 to {}", names.len() - 1)),
    }
}

/// A span without its attributes, links and events.
#[derive(Default)]
pub(super) struct Span<'a> {
    pub(super) trace_id: Id<'a>,
    pub(super) span_id: Id<'a>,
    pub(super) parent_span_id: Id<'a>,
    pub(super) trace_state: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
    pub(super) kind: i128,
    pub(super) started_ns: i128,
    pub(super) ended_ns: i128,
    pub(super) status_code: i128,
    pub(super) status_message: Cow<'a, str>,
}

impl Span<'_> {
    /// How reasons call the span.
    pub(super) fn label(&self) -> String {
        match self.span_id.required::<16>("") {
            Ok(id) => format!("span \"{}\"", id.as_str()),
            Err(_) if self.name.is_empty() => "span".to_owned(),
            Err(_) => format!("span of name {}", Quoted(&self.name)),
        }
    }
}

/// A link without its attributes.
#[derive(Default)]
pub(super) struct Link<'a> {
    pub(super) trace_id: Id<'a>,
    pub(super) span_id: Id<'a>,
}

/// An event of a span without its attributes.
#[derive(Default)]
pub(super) struct Event<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) ts_ns: i128,
}

/// A log record without its body and attributes.
#[derive(Default)]
pub(super) struct Log<'a> {
    pub(super) ts_ns: i128,
    pub(super) observed_ns: i128,
    pub(super) severity_number: i128,
    pub(super) severity_text: Cow<'a, str>,
    pub(super) event_name: Cow<'a, str>,
    pub(super) trace_id: Id<'a>,
    pub(super) span_id: Id<'a>,
}

/// The five shapes of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricType {
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
    Summary,
}

impl MetricType {
    pub(super) fn name(self) -> &'static str {
        match self {
            MetricType::Gauge => "gauge",
            MetricType::Sum => "sum",
            MetricType::Histogram => "histogram",
            MetricType::ExponentialHistogram => "exponential_histogram",
            MetricType::Summary => "summary",
        }
    }
}

/// What the points of a metric share.
#[derive(Default)]
pub(super) struct Metric<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) description: Cow<'a, str>,
    pub(super) unit: Cow<'a, str>,
    pub(super) temporality: Option<&'static str>,
    pub(super) is_monotonic: Option<bool>,
}

impl Metric<'_> {
    /// How reasons call the metric.
    pub(super) fn label(&self) -> String {
        if self.name.is_empty() { "metric".to_owned() } else { format!("metric {}", Quoted(&self.name)) }
    }

    /// Takes in an `AggregationTemporality`.
    pub(super) fn set_temporality(&mut self, value: i128) -> Result<(), Reason> {
        let name = named("temporality", value, &["unspecified", "delta", "cumulative"])?;
        self.temporality = (name != "unspecified").then_some(name);
        Ok(())
    }
}

/// The value of a gauge, a sum or an exemplar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Double(f64),
}

impl Number {
    pub(super) fn double(self) -> f64 {
        match self {
            Number::Int(value) => value as f64,
            Number::Double(value) => value,
        }
    }
}

/// What is wrong with a metric of none of the five types.
pub(super) const NO_DATA: &str =
    "data is missing, a gauge, sum, histogram, exponential histogram or summary expected";
/// What is wrong with a metric of two of the five types.
pub(super) const TWO_KINDS_OF_DATA: &str = "data is of two types, one expected";

/// What is wrong with an attribute value or body.
#[cold]
pub(super) fn too_deep(limits: &Limits) -> Reason {
    format!("more than {0} levels of arrays and lists in a value, {0} allowed", limits.nesting_max)
}

/// Whether a point that has `elements` of a kind may have one more.
#[inline]
pub(super) fn too_many(what: &str, elements: usize, limits: &Limits) -> Result<(), Reason> {
    match limits.elements_max {
        elements_max if elements < elements_max => Ok(()),
        elements_max => Err(format!("more than {elements_max} {what}, {elements_max} allowed")),
    }
}

/// A data point of any type, without its attributes and lists. What its type does not have stays absent.
#[derive(Default)]
pub(super) struct Point {
    pub(super) started_ns: i128,
    pub(super) ts_ns: i128,
    pub(super) value: Option<Number>,
    pub(super) count: i128,
    pub(super) sum: Option<f64>,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    pub(super) scale: i128,
    pub(super) zero_count: i128,
    pub(super) zero_threshold: f64,
    pub(super) positive_offset: i128,
    pub(super) negative_offset: i128,
    pub(super) flags: i128,
}

/// An exemplar without its attributes.
#[derive(Default)]
pub(super) struct Exemplar<'a> {
    pub(super) ts_ns: i128,
    pub(super) value: Option<Number>,
    pub(super) trace_id: Id<'a>,
    pub(super) span_id: Id<'a>,
}
