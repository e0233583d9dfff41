//! A worker that dies while servers run: from then on nothing is answered, least of all from tables that are stale.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use tonic::Code;
use undercurrent::config::Config;
use undercurrent::delta::plan::{Node, Plan};
use undercurrent::engine::{BuiltIns, Database, Engine, Live, LiveOptions, View};

use crate::flight_sql;
use crate::in_process::{InProcess, curl};
use crate::otlp::client::{PROTOBUF, post};
use crate::otlp::spans;
use crate::postgres::{connect, told};
use crate::server::eventually;

/// A view whose worker panics over the first span: its rows are said to have a column that they do not have. The
/// compiler makes no such plan.
fn deadly() -> View {
    let column = |name: &str| Field::new(name, DataType::Utf8, false);
    let mut plan = Plan::default();
    let one = Node::Source { relation: "spans".to_owned(), columns: vec![0] };
    let spans = plan.push(one, Arc::new(Schema::new(vec![column("trace_id")])));
    let schema = Arc::new(Schema::new(vec![column("trace_id"), column("missing")]));
    plan.push(Node::Consolidate(spans), schema.clone());
    View {
        plan: Arc::new(plan),
        schema,
        retracts: false,
        query: "SELECT 1".to_owned(),
        horizon_ms: None,
        model: None,
    }
}

async fn open(config: &Config) -> Live {
    let mut database = Database::new(Engine::start(2).expect("workers"), BuiltIns::default(), None);
    database.engine.create_view("deadly", deadly()).expect("a view");
    Live::start(database, LiveOptions::from(config), None).expect("a thread")
}

#[test]
fn every_port_refuses_once_a_worker_is_lost() {
    let server = InProcess::over(open, &[]);
    let ready = || curl(&[&server.url("/ready")]);
    assert_eq!(ready().status, 200);
    let client = server.wait(connect(&server));
    server.wait(client.simple_query("SELECT count(*) FROM deadly")).expect("a row");
    let mut flight = server.wait(flight_sql::connect(&server));
    server.wait(flight.execute("SELECT 1".to_owned(), None)).expect("an answer");
    let deadly = spans(0..1, "GET").encode_to_vec();
    let export = || post(server.otlp_http(), "/v1/traces", &[("content-type", PROTOBUF)], &deadly).status;
    assert_eq!(export(), 200);

    let refused = eventually(ready, |got| got.status == 503);
    assert!(refused.json()["reason"].as_str().expect("text").contains("a worker stopped"), "{refused:?}");
    assert_eq!(curl(&[&server.url("/health")]).status, 200);
    for path in ["/api/v1/sql?sql=SELECT%201", "/api/v1/subscribe?view=deadly", "/api/services"] {
        assert_eq!(curl(&[&server.url(path)]).status, 503, "{path}");
    }
    let error = server.wait(client.simple_query("SELECT count(*) FROM deadly")).expect_err("a refusal");
    let (code, message, _) = told(&error);
    assert!(code == "57P03" && message.contains("a worker stopped"), "{code} {message}");
    let refused = server.wait(flight.execute("SELECT 1".to_owned(), None));
    let (code, message) = flight_sql::refusal(refused);
    assert!(code == Code::Unavailable && message.contains("a worker stopped"), "{code} {message}");
    // The owning thread learns of it when it closes a tick.
    eventually(export, |status| *status == 503);
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.otlp_grpc()));
    let channel = server.wait(endpoint.expect("an address").connect()).expect("a connection");
    let refused = server.wait(TraceServiceClient::new(channel).export(spans(0..1, "GET")));
    assert_eq!(refused.expect_err("a refusal").code(), Code::Unavailable);
}
