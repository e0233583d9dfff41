//! Which format a client wants.

use axum::http::{HeaderMap, StatusCode, header};

use super::error::ApiError;

/// A format of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// An object with the columns and the rows.
    Json,
    /// With a header line.
    Csv,
    /// The streaming format of Arrow IPC.
    Arrow,
}

/// The formats with their media types, the one that is preferred first.
const FORMATS: [(Format, &str); 3] = [
    (Format::Json, "application/json"),
    (Format::Csv, "text/csv"),
    (Format::Arrow, "application/vnd.apache.arrow.stream"),
];

impl Format {
    /// The media type of an answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Csv => "text/csv; charset=utf-8; header=present",
            Format::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// The format that `headers` accept best.
    ///
    /// # Errors
    ///
    /// 406 when they accept none.
    pub fn of(headers: &HeaderMap) -> Result<Format, ApiError> {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
        let accepted = values.collect::<Vec<_>>().join(",");
        choose(&accepted).ok_or_else(|| {
            let names = FORMATS.map(|(_, name)| name).join(", ");
            let message = format!("none of \"{accepted}\" is offered");
            ApiError::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", message)
                .with_hint(format!("Accept {names}"))
        })
    }
}

/// The format of the range in `accepted` with the greatest weight, the most exact one where weights are equal.
fn choose(accepted: &str) -> Option<Format> {
    if accepted.trim().is_empty() {
        return Some(Format::Json);
    }
    let mut best = None;
    for range in accepted.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|p| p.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
        let matches = |(_, offered): &&(Format, &str)| match name.split_once('/') {
            Some(("*", "*")) => true,
            Some((kind, "*")) => offered.starts_with(&format!("{kind}/")),
            _ => *offered == name,
        };
        let rank = (weight, !name.contains('*'));
        if let Some((format, _)) = FORMATS.iter().find(matches)
            && weight > 0.0
            && best.is_none_or(|(_, than)| rank > than)
        {
            best = Some((*format, rank));
        }
    }
    best.map(|(format, _)| format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_what_is_accepted_is_chosen() {
        for (accepted, expected) in [
            ("", Some(Format::Json)),
            ("*/*", Some(Format::Json)),
            ("text/*", Some(Format::Csv)),
            ("Text/CSV; charset=utf-8", Some(Format::Csv)),
            ("text/html, application/xhtml+xml, */*;q=0.8", Some(Format::Json)),
            ("application/json;q=0.5, text/csv;q=0.7", Some(Format::Csv)),
            ("*/*, application/vnd.apache.arrow.stream", Some(Format::Arrow)),
            ("text/csv;q=0", None),
            ("image/png", None),
            ("garbage", None),
        ] {
            assert_eq!(choose(accepted), expected, "{accepted}");
        }
    }
}
