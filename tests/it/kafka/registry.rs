//! A schema registry, as far as its API is used here: what Confluent publishes of `/schemas` and `/subjects`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

/// Who may ask, as a header says it: `who:secret`.
const AUTHORIZATION: &str = "Basic d2hvOnNlY3JldA==";

/// How a registry answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    #[default]
    Well,
    /// It is not there: connections end without an answer.
    Away,
    /// It cannot now.
    Busy,
    /// It is something else at the same address.
    Other,
    /// It is something else, which says with a long page that it is forbidden.
    Proxy,
    /// It says nothing about the schema of this number, as long as it is like this.
    Stalled(u32),
}

/// A registry, on a thread of its own.
#[derive(Clone)]
pub struct Registry {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    manner: Manner,
    /// By number, from one.
    schemas: Vec<Value>,
    subjects: BTreeMap<String, Vec<usize>>,
    /// The paths that were asked for.
    asked: Vec<String>,
}

impl Registry {
    /// Starts one that is empty.
    pub fn start() -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let registry = Registry { address, state: Arc::default() };
        let serving = registry.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        registry
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The options of a source or a sink that asks it.
    pub fn options(&self) -> String {
        let url = self.url();
        format!("schema.registry.url = '{url}', schema.registry.basic.auth.user.info = 'who:secret'")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers like this from now on.
    pub fn behave(&self, manner: Manner) {
        self.state().manner = manner;
    }

    /// Registers a schema, with all that a registry may say of one; its number.
    pub fn register(&self, subject: &str, schema: Value) -> u32 {
        let mut state = self.state();
        let known = state.schemas.iter().position(|known| *known == schema);
        let place = known.unwrap_or(state.schemas.len());
        if known.is_none() {
            state.schemas.push(schema);
        }
        let versions = state.subjects.entry(subject.to_owned()).or_default();
        if !versions.contains(&place) {
            versions.push(place);
        }
        place as u32 + 1
    }

    /// How often `path` was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.state().asked.iter().filter(|asked| *asked == path).count()
    }

    /// The subjects that there are.
    pub fn subjects(&self) -> Vec<String> {
        self.state().subjects.keys().cloned().collect()
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().expect("a connection"));
        while let Some((line, is_allowed, body)) = request(&mut reader) {
            let mut parts = line.split_whitespace();
            let (method, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let path = path.split('?').next().unwrap_or_default();
            let mut manner = self.state().manner;
            while matches!(manner, Manner::Stalled(id) if path == format!("/schemas/ids/{id}")) {
                std::thread::sleep(Duration::from_millis(50));
                manner = self.state().manner;
            }
            let (status, answer) = match manner {
                Manner::Away => return,
                Manner::Busy => (503, json!("busy")),
                Manner::Other => (404, json!("nothing here")),
                Manner::Proxy => (403, json!("no".repeat(1 << 20))),
                Manner::Well | Manner::Stalled(_) if !is_allowed => {
                    (401, json!({"error_code": 401, "message": "who are you"}))
                }
                Manner::Well | Manner::Stalled(_) => self.answer(method, path, &body),
            };
            let text = answer.to_string();
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/vnd.schemaregistry.v1+json\r\nContent-Length: {}\r\n\r\n",
                text.len()
            );
            if stream.write_all((head + &text).as_bytes()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.state().asked.push(path.to_owned());
        let absent = |code: u32| (404, json!({"error_code": code, "message": "not found"}));
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (method, &segments[..]) {
            ("GET", ["schemas", "ids", id]) => {
                let place = id.parse::<usize>().ok().and_then(|id| id.checked_sub(1));
                let state = self.state();
                place.and_then(|place| state.schemas.get(place)).map_or(absent(40403), |s| (200, s.clone()))
            }
            ("GET", ["subjects", subject, "versions", version]) => {
                let state = self.state();
                let place = version.parse::<usize>().ok().and_then(|version| version.checked_sub(1));
                let found = place.and_then(|place| state.subjects.get(*subject)?.get(place));
                found.map_or(absent(40402), |place| (200, state.schemas[*place].clone()))
            }
            ("POST", ["subjects", subject, "versions"]) => {
                let schema = json!({"schema": body["schema"]});
                (200, json!({"id": self.register(subject, schema)}))
            }
            _ => absent(404),
        }
    }
}

/// A request: its first line, whether it says who asks, and its body.
fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, bool, Value)> {
    let line = |reader: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0).map(|_| line.trim_end().to_owned())
    };
    let (first, mut length, mut is_allowed) = (line(reader)?, 0, false);
    loop {
        let header = line(reader)?;
        let Some((name, value)) = header.split_once(": ") else { break };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => is_allowed = value == AUTHORIZATION,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first, is_allowed, serde_json::from_slice(&body).unwrap_or_default()))
}
