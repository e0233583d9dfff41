//! A sink that posts to an address.
//!
//! Each request is `{"sink": "name", "tick_at": 1767225600000, "part": 0, "parts": 1, "changes": [...]}`, where each change is
//! `{"key": ..., "change": ...}`: the key where there is one, and the row, or what the envelope makes of it. The header `Idempotency-Key` is the same when a request is sent again, which it is
//! until it is answered with 2xx: whoever receives it can tell.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use tokio::runtime::Handle;

use super::ConnectError;
use super::encode::{Members, Message};
use super::settings::{number, required, value};
use super::sink::{Destination, Told};
use super::supervisor::Stop;
use crate::delta::updates::Tick;
use crate::sql::connector::CreateSink;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Changes in one request, where nothing else is said.
const ROWS_MAX: usize = 1_000;

/// Where requests are posted.
pub(super) struct Webhook {
    client: Client,
    handle: Handle,
    stop: Stop,
    sink: String,
    url: String,
    id: String,
    authorization: Option<String>,
    rows_max: usize,
}

#[derive(serde::Serialize)]
struct Body<'a> {
    sink: &'a str,
    tick_at: Tick,
    part: usize,
    parts: usize,
    changes: Vec<Members<'a>>,
}

impl Webhook {
    /// Of the sink `sink`.
    pub fn new(sink: &CreateSink, handle: &Handle, stop: &Stop) -> Result<Self, ConnectError> {
        let url = required(&sink.options, "url")?;
        if reqwest::Url::parse(&url).is_err() {
            let expected = "an address such as https://example.com/hook is expected".to_owned();
            return Err(ConnectError::Option { name: "url".to_owned(), value: url, expected });
        }
        // There may be another that is the default already.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let client =
            Client::builder().redirect(Policy::none()).timeout(TIMEOUT).user_agent("undercurrent").build();
        Ok(Webhook {
            client: client
                .map_err(|error| ConnectError::Webhook { url: url.clone(), reason: error.to_string() })?,
            handle: handle.clone(),
            stop: stop.clone(),
            sink: sink.name.clone(),
            id: required(&sink.options, "idempotency_id")?,
            authorization: value(&sink.options, "authorization")?,
            rows_max: number(&sink.options, "rows_max")?.unwrap_or(ROWS_MAX).max(1),
            url,
        })
    }

    fn post(
        &self,
        tick: Tick,
        (part, parts): (usize, usize),
        messages: &[Message],
    ) -> Result<(), ConnectError> {
        let failed = |reason: String| ConnectError::Webhook { url: self.url.clone(), reason };
        let changes = messages.iter().map(Message::json).collect::<Result<_, _>>()?;
        let body = Body { sink: &self.sink, tick_at: tick, part, parts, changes };
        let body = serde_json::to_vec(&body).map_err(|error| failed(error.to_string()))?;
        let mut request = self.client.post(&self.url).header(CONTENT_TYPE, "application/json").body(body);
        request = request.header("Idempotency-Key", format!("{}-{tick}-{part}", self.id));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let answer = self.handle.block_on(async {
            tokio::select! {
                answer = request.send() => answer.map_err(|error| failed(error.without_url().to_string())),
                () = self.stop.due() => Err(ConnectError::Ended),
            }
        })?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err(failed(answer.status().to_string()))
            }
            // What is moved elsewhere is not posted there unasked.
            status if status.is_client_error() || status.is_redirection() => {
                Err(ConnectError::Refused { url: self.url.clone(), status: status.to_string() })
            }
            status => Err(failed(status.to_string())),
        }
    }
}

impl Destination for Webhook {
    fn last(&mut self) -> Result<Option<Tick>, ConnectError> {
        Ok(None)
    }

    fn rows_max(&self) -> usize {
        // Tick by tick: one that has arrived is not sent again because the next has not.
        1
    }

    fn deliver(&mut self, ticks: &[Told]) -> Result<(), ConnectError> {
        for told in ticks {
            let parts = told.messages.chunks(self.rows_max);
            let count = parts.len();
            for (part, messages) in parts.enumerate() {
                self.post(told.tick, (part, count), messages)?;
            }
        }
        Ok(())
    }
}
