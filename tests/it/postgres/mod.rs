//! PostgreSQL's protocol, by the clients that speak it.

mod catalog;
mod hostile;
mod prepared;
mod psql;
mod session;
mod subscribe;
mod tables;
mod types;

use serde_json::{Value, json};
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};

use crate::in_process::InProcess;

/// Connects a driver; the connection ends with its client.
pub async fn connect(running: &InProcess) -> Client {
    let address = running.postgres();
    let mut config = Config::new();
    config.host(address.ip().to_string()).port(address.port()).user("ann").dbname("undercurrent");
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    running.spawn(async move {
        let _ = connection.await;
    });
    client
}

/// The rows of the last statement of `sql` as text, by the simple protocol.
pub async fn simple(client: &Client, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
    let mut rows = vec![];
    for message in client.simple_query(sql).await? {
        match message {
            SimpleQueryMessage::RowDescription(_) => rows.clear(),
            SimpleQueryMessage::Row(row) => {
                rows.push((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect());
            }
            _ => {}
        }
    }
    Ok(rows)
}

/// The SQLSTATE, the message and the hint that `error` tells.
pub fn told(error: &Error) -> (String, String, String) {
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    (error.code().code().to_owned(), error.message().to_owned(), error.hint().unwrap_or_default().to_owned())
}

/// A span of `service` with something in every column that may hold something.
pub fn span(service: &str, n: u32) -> Value {
    json!({
        "trace_id": format!("{n:032x}"),
        "span_id": format!("{n:016x}"),
        "service_name": service,
        "name": "GET /cart",
        "kind": "SERVER",
        "status_code": "OK",
        "started_at": "2026-01-01T00:00:01.123456789Z",
        "ended_at": "2026-01-01T00:00:01.128456789Z",
        "duration_ns": 5_000_000,
        "attributes": {"http.route": "/cart"},
    })
}

/// Waits until `sql` gives as many rows as `count`.
pub async fn rows_become(client: &Client, sql: &str, count: usize) {
    while simple(client, sql).await.expect("rows").len() != count {
        tokio::task::yield_now().await;
    }
}
