//! A schema registry that speaks as Confluent's does: messages name a schema by a number, and it knows which that is.
//!
//! Of its API are used `GET /schemas/ids/{id}`, `GET /subjects/{subject}/versions/{version}` (of what a schema refers to)
//! and `POST /subjects/{subject}/versions`.

use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde_json::Value;
use tokio::runtime::Handle;

use super::ConnectError;
use super::error::cut;
use super::settings::{required, value};
use super::supervisor::Stop;
use crate::sql::connector::{Options, REGISTRY_URL, REGISTRY_USER_INFO};

/// The most bytes of an answer, which holds a schema.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The most other schemas that one refers to, those that they refer to among them.
const REFERENCES_MAX: usize = 100;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How long is asked at all, however many addresses there are: less than what counts as having worked.
const ASK_MAX: Duration = Duration::from_secs(15);

/// How often a registry that does not answer is asked, before the source or the sink begins anew.
const ATTEMPTS: u32 = 3;

/// How long it is left alone after the first time; twice as long each time.
const PAUSE: Duration = Duration::from_millis(200);

/// The most redirections that are followed.
const REDIRECTIONS_MAX: usize = 3;

/// What it reads and writes.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// Told before each request, and while others are waited for: rows wait for the answer.
pub(super) type Waiting<'a> = &'a dyn Fn() -> Result<(), ConnectError>;

/// A client of a schema registry.
pub(super) struct Registry {
    client: Client,
    handle: Handle,
    stop: Stop,
    /// Where it is; what is behind the first answers too. And what each is called.
    urls: Vec<(Url, String)>,
    user: Option<(String, String)>,
}

/// A schema with those that it refers to.
#[derive(Debug)]
pub(super) struct Definition {
    /// The schema.
    pub schema: Value,
    /// The others, by the full name of the type that they define.
    pub named: HashMap<String, Value>,
}

/// Why a registry has no schema to read messages by.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoSchema {
    /// It says so.
    #[error("the schema registry does not have it: {0}")]
    Absent(String),
    /// It is of another kind.
    #[error("it is of the type {0}, AVRO is expected")]
    Kind(String),
    /// It is no JSON.
    #[error("it cannot be read: {0}")]
    Broken(serde_json::Error),
    /// It is too long.
    #[error("it has more than {ANSWER_BYTES_MAX} bytes")]
    Long,
    /// It refers to too many others.
    #[error("it refers to more than {REFERENCES_MAX} others")]
    References,
}

/// A schema as it is answered.
#[derive(serde::Deserialize)]
struct Answered {
    schema: String,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

/// Which schema defines a type that another uses.
#[derive(serde::Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i64,
}

/// The number of a schema that was registered.
#[derive(serde::Deserialize)]
struct Registered {
    id: u32,
}

/// What it says instead.
#[derive(serde::Deserialize)]
struct Refusal {
    error_code: u32,
    #[serde(default)]
    message: String,
}

/// An answer that is no failure.
struct Answer {
    url: String,
    status: StatusCode,
    /// `None` for one that is too long.
    body: Option<Vec<u8>>,
}

impl Registry {
    /// As `options` say.
    pub fn of(options: &Options, handle: &Handle, stop: &Stop) -> Result<Self, ConnectError> {
        let text = required(options, REGISTRY_URL)?;
        let written = options.get(REGISTRY_URL).filter(|written| *written != text);
        let refused = |value: &str, expected: &str| ConnectError::Option {
            name: REGISTRY_URL.to_owned(),
            value: value.to_owned(),
            expected: expected.to_owned(),
        };
        let mut urls = vec![];
        for one in text.split(',').map(str::trim) {
            // What an environment variable holds is not shown.
            let url = Url::parse(one)
                .ok()
                .filter(|url| url.has_host() && ["http", "https"].contains(&url.scheme()))
                .ok_or_else(|| refused("***", "an address such as https://example.com:8081 is expected"))?;
            if !url.username().is_empty() || url.password().is_some() {
                return Err(refused("***", &format!("who asks is said by {REGISTRY_USER_INFO}")));
            }
            let name = written.map_or_else(|| url.to_string(), str::to_owned);
            urls.push((url, name));
        }
        let user = match value(options, REGISTRY_USER_INFO)? {
            None => None,
            Some(info) => Some(user(&info)?),
        };
        // There may be another that is the default already.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let redirect = Policy::limited(REDIRECTIONS_MAX);
        let client = Client::builder().redirect(redirect).timeout(TIMEOUT).user_agent("undercurrent").build();
        let client = client.map_err(|error| refused(written.unwrap_or(&text), &error.to_string()))?;
        Ok(Registry { client, handle: handle.clone(), stop: stop.clone(), urls, user })
    }

    /// The schema that messages call `id`.
    ///
    /// # Errors
    ///
    /// Where the registry does not answer, or not this one. That there is no such schema, or none to read by, is an answer.
    pub fn schema(
        &self,
        id: u32,
        waiting: Waiting<'_>,
    ) -> Result<Result<Definition, NoSchema>, ConnectError> {
        let answered = match self.answered(&["schemas", "ids", &id.to_string()], waiting)? {
            Ok(answered) => answered,
            Err(no) => return Ok(Err(no)),
        };
        let schema = match serde_json::from_str(&answered.schema) {
            Ok(schema) => schema,
            Err(error) => return Ok(Err(NoSchema::Broken(error))),
        };
        let named = self.referred(answered.references, waiting)?;
        Ok(named.map(|named| Definition { schema, named }))
    }

    /// What `references` name, and what these refer to.
    fn referred(
        &self,
        mut references: Vec<Reference>,
        waiting: Waiting<'_>,
    ) -> Result<Result<HashMap<String, Value>, NoSchema>, ConnectError> {
        let mut named = HashMap::new();
        while let Some(Reference { name, subject, version }) = references.pop() {
            if named.contains_key(&name) {
                continue;
            }
            if named.len() == REFERENCES_MAX || references.len() > REFERENCES_MAX {
                return Ok(Err(NoSchema::References));
            }
            let path = ["subjects", &subject, "versions", &version.to_string()];
            let answered = match self.answered(&path, waiting)? {
                Ok(answered) => answered,
                Err(no) => return Ok(Err(no)),
            };
            match serde_json::from_str(&answered.schema) {
                Ok(schema) => named.insert(name, schema),
                Err(error) => return Ok(Err(NoSchema::Broken(error))),
            };
            references.extend(answered.references);
        }
        Ok(Ok(named))
    }

    fn answered(
        &self,
        path: &[&str],
        waiting: Waiting<'_>,
    ) -> Result<Result<Answered, NoSchema>, ConnectError> {
        let answer = self.ask(path, waiting, |client, url| client.get(url))?;
        // Whatever else is at this address says 404 too, and that makes no message unreadable.
        if let Some(refusal) = answer.absence() {
            return Ok(Err(NoSchema::Absent(cut(refusal.message))));
        }
        if !answer.status.is_success() {
            return Err(answer.refused());
        }
        let Some(body) = &answer.body else { return Ok(Err(NoSchema::Long)) };
        let answered: Answered = answer.read(body)?;
        match answered.kind.as_deref() {
            None | Some("AVRO") => Ok(Ok(answered)),
            Some(other) => Ok(Err(NoSchema::Kind(cut(other.to_owned())))),
        }
    }

    /// The number of `schema` under `subject`, where it is from now on, if it was not.
    pub fn register(&self, subject: &str, schema: &str) -> Result<u32, ConnectError> {
        let body = serde_json::json!({ "schema": schema }).to_string();
        let answer = self.ask(&["subjects", subject, "versions"], &|| Ok(()), |client, url| {
            client.post(url).header(CONTENT_TYPE, MEDIA_TYPE).body(body.clone())
        })?;
        match &answer.body {
            Some(body) if answer.status.is_success() => Ok(answer.read::<Registered>(body)?.id),
            _ => Err(answer.refused()),
        }
    }

    /// The answer of the first that answers, and knows what is asked for; a few times where none answers.
    fn ask(
        &self,
        path: &[&str],
        waiting: Waiting<'_>,
        request: impl Fn(&Client, Url) -> RequestBuilder,
    ) -> Result<Answer, ConnectError> {
        let (begun, mut failure, mut absence) = (Instant::now(), ConnectError::Ended, None);
        for attempt in 0..ATTEMPTS {
            for (base, name) in &self.urls {
                if begun.elapsed() > ASK_MAX {
                    break;
                }
                let mut url = base.clone();
                if let Ok(mut segments) = url.path_segments_mut() {
                    segments.pop_if_empty().extend(path);
                }
                let mut request = request(&self.client, url).header(ACCEPT, MEDIA_TYPE);
                if let Some((name, password)) = &self.user {
                    request = request.basic_auth(name, Some(password));
                }
                waiting()?;
                match self.send(name, request) {
                    Err(error @ ConnectError::Registry { .. }) => failure = error,
                    // One that follows another may not know yet what the other does.
                    Ok(answer) if answer.absence().is_some() => absence = Some(answer),
                    other => return other,
                }
            }
            if absence.is_some() || begun.elapsed() > ASK_MAX {
                break;
            }
            if attempt + 1 < ATTEMPTS {
                self.pause(PAUSE * (1 << attempt))?;
            }
        }
        waiting()?;
        absence.ok_or(failure)
    }

    /// Waits for `time`.
    pub fn pause(&self, time: Duration) -> Result<(), ConnectError> {
        let pause = async { tokio::time::timeout(time, self.stop.due()).await };
        match self.handle.block_on(pause) {
            Ok(()) => Err(ConnectError::Ended),
            Err(_) => Ok(()),
        }
    }

    fn send(&self, url: &str, request: RequestBuilder) -> Result<Answer, ConnectError> {
        let answer = async {
            let mut response = request.send().await?;
            let (status, mut body) = (response.status(), vec![]);
            while let Some(chunk) = response.chunk().await? {
                if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                    return Ok(Answer { url: url.to_owned(), status, body: None });
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Answer { url: url.to_owned(), status, body: Some(body) })
        };
        let answer: Option<Result<Answer, reqwest::Error>> = self.handle.block_on(async {
            tokio::select! {
                answer = answer => Some(answer),
                () = self.stop.due() => None,
            }
        });
        let failed = |reason: String| ConnectError::Registry { url: url.to_owned(), reason };
        match answer.ok_or(ConnectError::Ended)? {
            // Its address may be a secret.
            Err(error) => Err(failed(cause(&error.without_url()))),
            Ok(answer) if is_passing(answer.status) => Err(failed(answer.status.to_string())),
            Ok(answer) => Ok(answer),
        }
    }
}

impl Answer {
    /// The body as what it should be.
    fn read<T: serde::de::DeserializeOwned>(&self, body: &[u8]) -> Result<T, ConnectError> {
        let failed = |error: serde_json::Error| ConnectError::Registry {
            url: self.url.clone(),
            reason: format!("what it answers cannot be read: {error}"),
        };
        serde_json::from_slice(body).map_err(failed)
    }

    /// What it says where it has no such schema.
    fn absence(&self) -> Option<Refusal> {
        let said = self.said().filter(|refusal| refusal.error_code != 404);
        said.filter(|_| self.status == StatusCode::NOT_FOUND)
    }

    fn said(&self) -> Option<Refusal> {
        serde_json::from_slice(self.body.as_deref()?).ok()
    }

    /// It wants no such request.
    fn refused(&self) -> ConnectError {
        let reason = match self.said() {
            Some(refusal) if !refusal.message.is_empty() => {
                format!("{}: {}", self.status, cut(refusal.message))
            }
            _ => self.status.to_string(),
        };
        ConnectError::RegistryRefused { url: self.url.clone(), reason }
    }
}

/// Whether an answer says that it may be another one later.
fn is_passing(status: StatusCode) -> bool {
    let others = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    status.is_server_error() || others.contains(&status)
}

fn user(info: &str) -> Result<(String, String), ConnectError> {
    let parts = info.split_once(':').map(|(name, password)| (name.to_owned(), password.to_owned()));
    parts.ok_or_else(|| ConnectError::Option {
        name: REGISTRY_USER_INFO.to_owned(),
        // It is a secret.
        value: "***".to_owned(),
        expected: "user:password is expected".to_owned(),
    })
}

/// What `error` comes from at last: what is above says only that a request failed.
fn cause(error: &reqwest::Error) -> String {
    let mut last: &dyn Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
