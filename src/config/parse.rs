//! The text of a setting read as what it stands for.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::sql::statement::parse_duration_ms;

/// A number from 1 to `max`.
pub fn number(text: &str, max: usize) -> Result<usize, String> {
    let number = text.trim().replace('_', "").parse().ok().filter(|n| (1..=max).contains(n));
    number.ok_or_else(|| format!("a number from 1 to {max} is expected"))
}

/// A size such as `20 MiB`: up to 1 TiB.
pub fn bytes(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    let bytes = text[..digits].parse::<usize>().ok().and_then(|n| n.checked_mul(unit));
    bytes.filter(|n| (1 << 10..=1 << 40).contains(n)).ok_or_else(|| {
        "a size such as 20 MiB is expected, in B, KiB, MiB or GiB, from 1 KiB to 1 TiB".to_owned()
    })
}

/// The longest duration: 100 years, in milliseconds.
const DURATION_MS_MAX: u64 = 100 * 365 * 86_400_000;

/// A duration from 10 milliseconds to 100 years.
pub fn duration(text: &str) -> Result<Duration, String> {
    let short = text.trim().strip_suffix("ms").and_then(|ms| ms.trim().parse().ok());
    let ms = short.or_else(|| parse_duration_ms(text)).filter(|ms| (10..=DURATION_MS_MAX).contains(ms));
    ms.map(Duration::from_millis)
        .ok_or_else(|| "a duration such as 500ms, 10s or 15 minutes is expected, of at least 10ms".to_owned())
}

/// A duration, or `none`.
pub fn optional_duration(text: &str) -> Result<Option<Duration>, String> {
    match text.trim() {
        "none" => Ok(None),
        text => duration(text).map(Some).map_err(|expected| format!("{expected}, or none")),
    }
}

/// An address to listen on, or `off`.
pub fn address(text: &str) -> Result<Option<SocketAddr>, String> {
    match text.trim() {
        "off" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| "an address such as 127.0.0.1:8080 or [::]:8080 is expected, or off".to_owned()),
    }
}

/// `true` or `false`.
pub fn switch(text: &str) -> Result<bool, String> {
    text.trim().parse().map_err(|_| "true or false is expected".to_owned())
}

/// A path; nothing where the text is empty.
pub fn path(text: &str) -> Option<PathBuf> {
    let text = text.trim();
    if text.is_empty() { None } else { Some(PathBuf::from(text)) }
}

/// Names or paths, separated by commas.
pub fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
}

/// `brokers/topic`; nothing for an empty text.
pub(super) fn brokers_and_topic(text: &str) -> Result<Option<(String, String)>, String> {
    match text.trim().rsplit_once('/') {
        _ if text.trim().is_empty() => Ok(None),
        Some((brokers, topic)) if !brokers.is_empty() && !topic.is_empty() => {
            Ok(Some((brokers.to_owned(), topic.to_owned())))
        }
        _ => Err("brokers and a topic such as kafka:9092/anomalies are expected".to_owned()),
    }
}
