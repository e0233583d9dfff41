//! The settings of a session: what SET, RESET and SHOW work on.

use std::collections::BTreeMap;

use super::DATABASE;
use super::error::Fault;

/// The version of PostgreSQL whose protocol and catalog this is like.
pub(super) const SERVER_VERSION: &str = concat!("16.6 (Undercurrent ", env!("CARGO_PKG_VERSION"), ")");

/// The most settings of a client's own, with a dot in their names.
const CUSTOM_MAX: usize = 100;

/// The longest value of a setting, in bytes.
const VALUE_BYTES_MAX: usize = 8 << 10;

/// What may be done with a setting.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It is what it is.
    Fixed,
    /// Remembered for SHOW; nothing depends on it.
    Free,
    /// One of some values, because answers have no other form.
    OneOf(&'static [&'static str]),
    /// A time in milliseconds, or with a unit; 0: none.
    Time,
}

use Change::{Fixed, Free, OneOf, Time};

/// Name, default, what may be done with it, and whether the client is told of each change.
type Setting = (&'static str, &'static str, Change, bool);

const SWITCH: Change = OneOf(&["on", "off", "true", "false", "yes", "no", "1", "0"]);
const ISOLATION: Change = OneOf(&["serializable", "repeatable read", "read committed", "read uncommitted"]);
const UTF8: Change = OneOf(&["utf8", "utf-8", "unicode"]);

const SETTINGS: &[Setting] = &[
    ("application_name", "", Free, true),
    ("bytea_output", "hex", OneOf(&["hex"]), false),
    ("client_encoding", "UTF8", UTF8, true),
    ("client_min_messages", "notice", Free, false),
    (
        "DateStyle",
        "ISO, MDY",
        OneOf(&["iso", "iso, mdy", "iso, dmy", "iso, ymd", "iso,mdy", "iso,dmy", "iso,ymd"]),
        true,
    ),
    ("default_transaction_isolation", "read committed", ISOLATION, false),
    ("default_transaction_read_only", "off", SWITCH, true),
    ("extra_float_digits", "1", Free, false),
    ("idle_in_transaction_session_timeout", "0", Free, false),
    ("in_hot_standby", "off", Fixed, true),
    ("integer_datetimes", "on", Fixed, true),
    ("IntervalStyle", "postgres", OneOf(&["postgres"]), true),
    ("is_superuser", "off", Fixed, true),
    ("jit", "off", Free, false),
    ("lc_collate", "C", Fixed, false),
    ("lc_ctype", "C.UTF-8", Fixed, false),
    ("lc_messages", "C", Free, false),
    ("lc_monetary", "C", Free, false),
    ("lc_numeric", "C", Free, false),
    ("lc_time", "C", Free, false),
    ("lock_timeout", "0", Free, false),
    ("max_identifier_length", "63", Fixed, false),
    ("max_index_keys", "32", Fixed, false),
    ("role", "none", Free, false),
    ("row_security", "on", SWITCH, false),
    ("search_path", "\"$user\", public", Free, true),
    ("server_encoding", "UTF8", Fixed, true),
    ("server_version", SERVER_VERSION, Fixed, true),
    ("server_version_num", "160006", Fixed, false),
    ("session_authorization", "", Fixed, true),
    ("standard_conforming_strings", "on", OneOf(&["on", "true"]), true),
    ("statement_timeout", "0", Time, false),
    ("synchronous_commit", "on", Free, false),
    ("TimeZone", "UTC", Free, true),
    ("transaction_isolation", "read committed", ISOLATION, false),
    ("transaction_read_only", "off", SWITCH, false),
    ("work_mem", "4MB", Free, false),
    ("xmloption", "content", Free, false),
];

/// The settings of one session.
#[derive(Clone)]
pub(super) struct Settings {
    /// Values that differ from what the session began with, by name in lower case.
    changed: BTreeMap<String, String>,
    /// What the session began with, where it is not the default.
    initial: BTreeMap<String, String>,
}

impl Settings {
    /// Those of a client that said `parameters` of itself. What it may not set is passed over, as it would be
    /// an error only later.
    pub fn new(parameters: &BTreeMap<String, String>) -> Self {
        let mut settings = Settings { changed: BTreeMap::new(), initial: BTreeMap::new() };
        for (name, value) in parameters {
            let _ = settings.set(name, value);
        }
        settings.initial = std::mem::take(&mut settings.changed);
        if let Some(user) = parameters.get("user") {
            settings.initial.insert("session_authorization".to_owned(), user.clone());
        }
        settings
    }

    /// The value of `name`, in any case, and its name as PostgreSQL writes it.
    pub fn get(&self, name: &str) -> Result<(String, String), Fault> {
        let key = name.to_lowercase();
        let setting = SETTINGS.iter().find(|setting| setting.0.eq_ignore_ascii_case(&key));
        let own = self.changed.get(&key).or_else(|| self.initial.get(&key));
        match (setting, own) {
            (Some(setting), own) => {
                let value = own.cloned().unwrap_or_else(|| setting.1.to_owned());
                Ok((setting.0.to_owned(), value))
            }
            (None, Some(value)) => Ok((key, value.clone())),
            (None, None) => Err(unknown(name)),
        }
    }

    /// Sets `name`; returns it as PostgreSQL writes it when the client is to be told.
    pub fn set(&mut self, name: &str, value: &str) -> Result<Option<&'static str>, Fault> {
        let key = name.to_lowercase();
        if value.len() > VALUE_BYTES_MAX {
            let message = format!("the value of parameter \"{name}\" is longer than {VALUE_BYTES_MAX} bytes");
            return Err(Fault::error("22023", message));
        }
        let Some(setting) = SETTINGS.iter().find(|setting| setting.0.eq_ignore_ascii_case(&key)) else {
            let customs = self.changed.keys().filter(|key| key.contains('.')).count();
            if !key.contains('.') {
                return Err(unknown(name));
            }
            if customs >= CUSTOM_MAX && !self.changed.contains_key(&key) {
                return Err(Fault::error(
                    "54000",
                    format!("{CUSTOM_MAX} parameters of your own are set, no more are kept"),
                ));
            }
            self.changed.insert(key, value.to_owned());
            return Ok(None);
        };
        self.changed.insert(key, checked(setting, value)?);
        Ok(setting.3.then_some(setting.0))
    }

    /// Sets `name` back to what the session began with, or all.
    pub fn reset(&mut self, name: Option<&str>) -> Result<Vec<&'static str>, Fault> {
        let Some(name) = name else {
            let told = reported().filter(|name| self.changed.contains_key(&name.to_lowercase())).collect();
            self.changed.clear();
            return Ok(told);
        };
        self.get(name)?;
        self.changed.remove(&name.to_lowercase());
        Ok(reported().filter(|own| own.eq_ignore_ascii_case(name)).collect())
    }

    /// All names with their values.
    pub fn all(&self) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> =
            SETTINGS.iter().map(|setting| (setting.0.to_owned(), setting.1.to_owned())).collect();
        for (key, value) in self.initial.iter().chain(&self.changed) {
            let name = SETTINGS.iter().find(|setting| setting.0.eq_ignore_ascii_case(key)).map(|s| s.0);
            all.insert(name.unwrap_or(key).to_owned(), value.clone());
        }
        all
    }

    /// The time a statement may take by the client's own wish.
    pub fn statement_timeout(&self) -> Option<std::time::Duration> {
        let ms = self.get("statement_timeout").ok().and_then(|(_, value)| milliseconds(&value))?;
        (ms > 0).then(|| std::time::Duration::from_millis(ms))
    }
}

/// The names of the settings that a client is told of.
pub(super) fn reported() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().filter(|setting| setting.3).map(|setting| setting.0)
}

/// The value that is kept for `value`.
fn checked(setting: &Setting, value: &str) -> Result<String, Fault> {
    let (name, default, change, _) = *setting;
    let invalid = || Fault::error("22023", format!("invalid value for parameter \"{name}\": \"{value}\""));
    if value.eq_ignore_ascii_case("default") {
        return Ok(default.to_owned());
    }
    match change {
        Fixed => Err(Fault::error("55P02", format!("parameter \"{name}\" cannot be changed"))),
        Free => Ok(value.to_owned()),
        Time => match milliseconds(value) {
            Some(_) => Ok(value.to_owned()),
            None => Err(invalid().hint("A time is a number of milliseconds, or has a unit: ms, s, min, h.")),
        },
        OneOf(values) => match values.iter().any(|v| v.eq_ignore_ascii_case(value.trim())) {
            true if change == SWITCH => {
                let is_on = ["on", "true", "yes", "1"].contains(&value.to_lowercase().as_str());
                Ok(if is_on { "on" } else { "off" }.to_owned())
            }
            // Answers are the same however it is written.
            true if change == UTF8 || name == "DateStyle" => Ok(default.to_owned()),
            true => Ok(value.to_lowercase()),
            false => Err(invalid().hint(format!("It can be: {}.", values.join("; ")))),
        },
    }
}

/// A time such as `500`, `5s` or `'1 min'`.
fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

fn unknown(name: &str) -> Fault {
    Fault::error("42704", format!("unrecognized configuration parameter \"{name}\""))
        .hint(format!("SHOW ALL lists those of database \"{DATABASE}\"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_kept_checked_and_reset() {
        let user = BTreeMap::from([
            ("user".to_owned(), "ann".to_owned()),
            ("TimeZone".to_owned(), "CET".to_owned()),
        ]);
        let mut settings = Settings::new(&user);
        assert_eq!(settings.get("timezone").unwrap(), ("TimeZone".to_owned(), "CET".to_owned()));
        assert_eq!(settings.set("TIMEZONE", "Asia/Tokyo").unwrap(), Some("TimeZone"));
        assert_eq!(settings.get("TimeZone").unwrap().1, "Asia/Tokyo");
        assert_eq!(settings.reset(None).unwrap(), ["TimeZone"]);
        assert_eq!(settings.get("TimeZone").unwrap().1, "CET");
        assert_eq!(settings.set("statement_timeout", "2s").unwrap(), None);
        assert_eq!(settings.statement_timeout(), Some(std::time::Duration::from_secs(2)));
        for (name, value, code) in [
            ("no_such", "1", "42704"),
            ("client_encoding", "LATIN1", "22023"),
            ("server_version", "9", "55P02"),
            ("statement_timeout", "soon", "22023"),
        ] {
            let Err(Fault::Told(told)) = settings.set(name, value) else { panic!("{name} is set") };
            assert_eq!(told.code, code);
        }
    }
}
