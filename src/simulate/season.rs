//! How much traffic there is at a time of the week.

use super::chance::{Chance, Use};

pub(super) const SECOND_NS: i64 = 1_000_000_000;
const HOUR_NS: i64 = 3_600 * SECOND_NS;
const DAY_NS: i64 = 24 * HOUR_NS;

/// Visitors by hour of a weekday, in UTC: few at night, a first peak before noon, a second in the evening.
const WEEKDAY: [f64; 24] = [
    0.42, 0.30, 0.24, 0.22, 0.24, 0.32, 0.50, 0.76, 1.02, 1.22, 1.34, 1.38, 1.36, 1.30, 1.26, 1.26, 1.30,
    1.38, 1.52, 1.66, 1.68, 1.48, 1.10, 0.72,
];

/// The same of a Saturday or Sunday: later, and more of them.
const WEEKEND: [f64; 24] = [
    0.60, 0.46, 0.36, 0.30, 0.28, 0.30, 0.38, 0.54, 0.80, 1.12, 1.42, 1.62, 1.70, 1.70, 1.66, 1.62, 1.60,
    1.62, 1.70, 1.76, 1.70, 1.46, 1.14, 0.84,
];

/// Largest deviation of one minute from the curve.
const NOISE: f64 = 0.06;

/// Traffic at `at_ns`, nanoseconds since 1970 UTC, as a multiple of the week's average: a smooth curve by the hour,
/// and a little noise by the minute.
pub(super) fn traffic(seed: u64, at_ns: i64) -> f64 {
    let minute = at_ns.div_euclid(60 * SECOND_NS);
    let noise = Chance::new(seed, Use::Noise, minute as u64).between(1.0 - NOISE, 1.0 + NOISE);
    curve(at_ns) * noise
}

fn curve(at_ns: i64) -> f64 {
    let hour = at_ns.div_euclid(HOUR_NS);
    let within = at_ns.rem_euclid(HOUR_NS) as f64 / HOUR_NS as f64;
    // A cubic with level ends: hours meet without a kink.
    let rise = within * within * (3.0 - 2.0 * within);
    let (from, to) = (of_hour(hour), of_hour(hour + 1));
    (from + (to - from) * rise) / average()
}

fn of_hour(hour_since_1970: i64) -> f64 {
    let day = (hour_since_1970 * HOUR_NS).div_euclid(DAY_NS);
    let hour = hour_since_1970.rem_euclid(24) as usize;
    // The first of January 1970 was a Thursday.
    let is_weekend = matches!((day + 3).rem_euclid(7), 5 | 6);
    if is_weekend { WEEKEND[hour] } else { WEEKDAY[hour] }
}

fn average() -> f64 {
    let sum = |hours: &[f64; 24]| hours.iter().sum::<f64>();
    (5.0 * sum(&WEEKDAY) + 2.0 * sum(&WEEKEND)) / (7.0 * 24.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Monday, 5 January 2026, 00:00 UTC.
    const MONDAY_NS: i64 = 1_767_571_200 * SECOND_NS;

    #[test]
    fn a_week_averages_one() {
        let minutes = 7 * 24 * 60;
        let sum: f64 = (0..minutes).map(|m| traffic(1, MONDAY_NS + m * 60 * SECOND_NS)).sum();
        assert!((sum / minutes as f64 - 1.0).abs() < 0.01, "{}", sum / minutes as f64);
    }

    #[test]
    fn evenings_are_busy_and_weekends_differ() {
        let at = |day: i64, hour: i64| curve(MONDAY_NS + day * DAY_NS + hour * HOUR_NS);
        assert!(at(0, 20) > 4.0 * at(0, 3));
        assert_eq!(at(0, 13), at(4, 13));
        assert!(at(5, 13) > 1.2 * at(4, 13));
        assert!(at(6, 8) < at(0, 8));
    }
}
