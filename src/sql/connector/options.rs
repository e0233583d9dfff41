//! The options of a source or a sink.

use std::collections::BTreeMap;

use crate::sql::error::SqlError;

/// What is shown in the place of a secret.
const HIDDEN: &str = "***";

/// The option that says where the schema registry is, for FORMAT AVRO: `http://` or `https://`; several, separated by
/// commas, are tried in turn.
pub const REGISTRY_URL: &str = "schema.registry.url";

/// The option that says who asks the schema registry: `user:password`; without it nobody says so.
pub const REGISTRY_USER_INFO: &str = "schema.registry.basic.auth.user.info";

/// How the options of a schema registry begin.
const REGISTRY: &str = "schema.registry.";

/// Options by name, as they were given: what they mean is up to what they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// Sets option `name`.
    ///
    /// # Errors
    ///
    /// Where it is there already.
    pub(super) fn set(&mut self, name: String, value: String) -> Result<(), SqlError> {
        match self.0.insert(name.clone(), value.clone()) {
            None => Ok(()),
            Some(_) => {
                let value = shown(&name, &value);
                Err(SqlError::Option { name, value, expected: "it is there twice".to_owned() })
            }
        }
    }

    /// The value of option `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The options that are handed on to a client library as they are: those with a dot in their names that
    /// are not of a schema registry.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        all.filter(|(name, _)| name.contains('.') && !name.starts_with(REGISTRY))
    }

    /// Refuses options that are not among `known`, and properties that are among `reserved`, which say instead of whom
    /// they are.
    pub(super) fn check(
        &self,
        what: &str,
        known: &[&str],
        required: &[&str],
        reserved: &[(&str, &str)],
    ) -> Result<(), SqlError> {
        for (name, value) in &self.0 {
            let refused = |expected: String| {
                Err(SqlError::Option { name: name.clone(), value: shown(name, value), expected })
            };
            if let Some((_, instead)) = reserved.iter().find(|(reserved, _)| reserved == name) {
                return refused((*instead).to_owned());
            }
            if !name.contains('.') && !known.contains(&name.as_str()) {
                let also =
                    if reserved.is_empty() { "" } else { ", and properties of its client, which have a dot" };
                return refused(format!("{what} takes {}{also}", known.join(", ")));
            }
        }
        match required.iter().find(|name| !self.0.contains_key(**name)) {
            None => Ok(()),
            Some(name) => Err(SqlError::Syntax(format!("{what} needs the option {name}"))),
        }
    }

    /// Refuses options of a schema registry where there is none, and those that say where it is in a way that cannot be:
    /// only with `is_avro` there is one.
    pub(super) fn check_registry(&self, is_avro: bool) -> Result<(), SqlError> {
        for (name, value) in self.0.iter().filter(|(name, _)| name.starts_with(REGISTRY)) {
            let expected = match name.as_str() {
                _ if !is_avro => "it is for FORMAT AVRO".to_owned(),
                REGISTRY_USER_INFO => continue,
                REGISTRY_URL if value.contains('@') => {
                    format!("who asks is said by {REGISTRY_USER_INFO} = 'user:password'")
                }
                REGISTRY_URL if value.starts_with("${") || value.split(',').all(is_url) => continue,
                REGISTRY_URL => "an address such as https://example.com:8081 is expected".to_owned(),
                _ => format!("a schema registry takes {REGISTRY_URL}, {REGISTRY_USER_INFO}"),
            };
            return Err(SqlError::Option { name: name.clone(), value: shown(name, value), expected });
        }
        match is_avro && self.get(REGISTRY_URL).is_none() {
            true => Err(SqlError::Syntax(format!("FORMAT AVRO needs the option {REGISTRY_URL}"))),
            false => Ok(()),
        }
    }

    /// The options as SQL; with `is_shown` without what nobody is to see.
    pub(crate) fn text(&self, is_shown: bool) -> String {
        let option = |(name, value): (&String, &String)| {
            let value = if is_shown { shown(name, value) } else { value.clone() };
            format!("\"{}\" = '{}'", name.replace('"', "\"\""), value.replace('\'', "''"))
        };
        self.0.iter().map(option).collect::<Vec<_>>().join(", ")
    }
}

/// The value of an option as anybody may see it. What stands in an environment variable is named only.
fn shown(name: &str, value: &str) -> String {
    let words =
        ["password", "secret", "token", "key.pem", "authorization", "oauthbearer.config", "auth.user.info"];
    let is_secret = words.iter().any(|word| name.contains(word));
    // An address may hold a password, though it is refused with one.
    let is_secret = is_secret || (name == REGISTRY_URL && value.contains('@'));
    let is_named = value.starts_with("${") && value.ends_with('}');
    if is_secret && !is_named { HIDDEN.to_owned() } else { value.to_owned() }
}

fn is_url(text: &str) -> bool {
    let text = text.trim();
    ["http://", "https://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme))
}
