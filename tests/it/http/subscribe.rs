//! `/api/v1/subscribe`: the events of a view.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::in_process::{InProcess, curl};
use crate::server::eventually;

/// A curl that follows a view.
struct Follower {
    process: Child,
    lines: BufReader<ChildStdout>,
}

/// The id, the name and the data of an event.
#[derive(Debug, PartialEq)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

impl Follower {
    fn start(server: &InProcess, question: &str) -> Follower {
        let mut command = Command::new("curl");
        command.args(["-sSN", "--max-time", "60", &server.url(&format!("/api/v1/subscribe?{question}"))]);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Follower { process, lines }
    }

    /// The next event; none after the last.
    fn next(&mut self) -> Option<Event> {
        let mut event = Event { id: String::new(), name: String::new(), data: Value::Null };
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("id", id)) => event.id = id.to_owned(),
                Some(("event", name)) => event.name = name.to_owned(),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                _ if !event.name.is_empty() => return Some(event),
                // A heartbeat.
                _ => {}
            }
        }
    }

    fn next_named(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().expect("more events");
            if event.name == name {
                return event;
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn open(server: &InProcess) -> i64 {
    server.live.metrics().subscriptions.with_label_values(&["http"]).get()
}

#[test]
fn changes_come_as_they_happen_and_end_with_the_client() {
    let server = InProcess::start(&[]);
    let create =
        "CREATE MATERIALIZED VIEW per_service AS SELECT service_name, count(*) AS n FROM spans GROUP BY 1";
    assert_eq!(curl(&[&server.url("/api/v1/sql"), "--data-binary", create]).status, 200);
    server.send("1/1 web SERVER");
    let mut follower = Follower::start(&server, "view=per_service");
    let schema = follower.next().unwrap();
    assert_eq!(schema.name, "schema");
    assert_eq!(
        schema.data,
        json!({ "view": "per_service",
            "columns": [{ "name": "service_name", "type": "Utf8" }, { "name": "n", "type": "Int64" }] })
    );
    let first = follower.next().unwrap();
    assert_eq!((first.name.as_str(), &first.data["diff"]), ("change", &json!(1)));
    assert_eq!(first.data["row"], json!({ "service_name": "web", "n": 1 }));
    assert_eq!(open(&server), 1);
    server.send("1/2 web SERVER");
    let mut changes = [follower.next().unwrap(), follower.next().unwrap()];
    changes.sort_by_key(|event| event.data["diff"].as_i64());
    assert_eq!(changes[0].data["row"], json!({ "service_name": "web", "n": 1 }));
    assert_eq!(changes[0].data["diff"], -1);
    assert_eq!(changes[1].data["row"], json!({ "service_name": "web", "n": 2 }));
    assert_eq!(changes[0].id, changes[1].id);
    assert!(changes[0].id.parse::<u64>().unwrap() > first.id.parse().unwrap());
    drop(follower);
    eventually(|| open(&server), |open| *open == 0);
}

#[test]
fn progress_without_a_snapshot() {
    let server = InProcess::start(&[]);
    server.send("1/1 web SERVER");
    let mut follower = Follower::start(&server, "view=service_health&snapshot=false&progress=true");
    let progress = follower.next_named("progress");
    assert!(progress.data["tick_at"].as_str().unwrap().ends_with('Z'));
    server.send("1/2 cart SERVER");
    let change = follower.next_named("change");
    assert_eq!(change.data["row"]["service_name"], "cart");
    let after = follower.next_named("progress");
    assert_eq!(after.data["tick_at"], change.data["tick_at"]);
}

#[test]
fn windows_are_told_when_they_have_ended() {
    let server = InProcess::start(&[]);
    let create = "CREATE MATERIALIZED VIEW v AS SELECT window_end, count(*) AS n FROM TUMBLE(logs, ts, INTERVAL '1 minute') GROUP BY 1";
    assert_eq!(curl(&[&server.url("/api/v1/sql"), "--data-binary", create]).status, 200);
    let mut follower = Follower::start(&server, "view=v&emit=on_window_close");
    follower.next_named("schema");
    server.send("log cart ERROR +3s");
    server.send("log cart ERROR +59s");
    server.send("log cart ERROR +61s");
    let change = follower.next_named("change");
    assert_eq!(change.data["diff"], 1);
    assert_eq!(change.data["row"], json!({ "window_end": "2023-11-14T22:14:00Z", "n": 2 }));
    let refused = curl(&[&server.url("/api/v1/subscribe?view=service_health&emit=sometimes")]);
    assert_eq!(refused.status, 400);
}

#[test]
fn it_ends_with_the_view_and_with_the_server() {
    let mut server = InProcess::start(&[]);
    let create = "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM spans";
    curl(&[&server.url("/api/v1/sql"), "--data-binary", create]);
    let mut of_view = Follower::start(&server, "view=v");
    assert_eq!(of_view.next_named("change").data["row"], json!({ "n": 0 }));
    curl(&[&server.url("/api/v1/sql"), "--data-binary", "DROP VIEW v"]);
    let error = of_view.next_named("error");
    assert!(error.data["message"].as_str().unwrap().starts_with("the subscription to \"v\" ended"));
    assert_eq!(of_view.next(), None);
    let mut of_server = Follower::start(&server, "view=service_health");
    of_server.next_named("schema");
    server.stop();
    assert_eq!(of_server.next_named("end").data, json!({ "reason": "the server stops" }));
    assert_eq!(of_server.next(), None);
    assert!(of_server.process.wait().unwrap().success());
}

#[test]
fn what_cannot_be_subscribed_to_is_refused() {
    let server = InProcess::start(&[("limits.subscriptions_max", "1")]);
    let mut follower = Follower::start(&server, "view=service_health");
    follower.next_named("schema");
    for (question, status, message) in [
        ("view=nothing", 404, "relation \"nothing\" does not exist"),
        ("view=spans", 400, "no materialized view"),
        ("", 400, "view"),
        ("view=service_health&snapshot=perhaps", 400, "snapshot"),
        ("view=service_health&x=y", 400, "x"),
    ] {
        let free = InProcess::start(&[]);
        let got = curl(&[&free.url(&format!("/api/v1/subscribe?{question}"))]);
        let told = got.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(got.status == status && told.contains(message), "{question}: {} {told}", got.status);
    }
    let got = curl(&[&server.url("/api/v1/subscribe?view=traces")]);
    assert_eq!(got.status, 429);
    assert!(got.text().contains("limits.subscriptions_max"));
}
