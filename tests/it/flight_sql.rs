//! Arrow Flight SQL, by Arrow's own client and by ADBC.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    CommandGetDbSchemas, CommandGetTables, CommandPreparedStatementQuery, ProstMessageExt, SqlInfo,
    TicketStatementQuery,
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo, IpcMessage, Ticket,
};
use futures::TryStreamExt;
use prost::Message;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::in_process::InProcess;
use crate::python;
use crate::server::{PATIENCE, eventually};
use crate::support::{many, row_texts};

const SPANS: &str = "
    1/1   web  SERVER 20ms name=GET
    1/2<1 web  CLIENT name=call x=y
    1/3<2 cart SERVER 10ms +1s ERROR
";

pub type Client = FlightSqlServiceClient<Channel>;

pub async fn connect(server: &InProcess) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.flight_sql())).unwrap();
    FlightSqlServiceClient::new(endpoint.connect().await.unwrap())
}

/// All rows of an answer.
async fn rows(client: &mut Client, info: FlightInfo) -> Result<Vec<RecordBatch>, FlightError> {
    let mut batches = vec![];
    for endpoint in info.endpoint {
        let stream = client.do_get(endpoint.ticket.unwrap()).await?;
        batches.extend(stream.try_collect::<Vec<_>>().await?);
    }
    Ok(batches)
}

async fn query(client: &mut Client, sql: &str) -> Result<Vec<RecordBatch>, FlightError> {
    let info = client.execute(sql.to_owned(), None).await?;
    rows(client, info).await
}

fn texts(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    batches.iter().flat_map(row_texts).collect()
}

/// The code and the message of what was refused.
pub fn refusal<T>(result: Result<T, impl Into<FlightError>>) -> (Code, String) {
    match result.map_err(Into::into) {
        Err(FlightError::Tonic(status)) => (status.code(), status.message().to_owned()),
        Err(FlightError::Arrow(ArrowError::ExternalError(error))) => {
            match error.downcast::<tonic::Status>() {
                Ok(status) => (status.code(), status.message().to_owned()),
                Err(other) => panic!("{other}"),
            }
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("not refused"),
    }
}

fn open(server: &InProcess) -> i64 {
    server.live.metrics().subscriptions.with_label_values(&["flight_sql"]).get()
}

#[test]
fn a_query_gives_its_rows_under_the_columns_it_told() {
    let server = InProcess::start(&[]);
    server.send(SPANS);
    for sql in [
        "SELECT service_name, count(*) AS n, max(started_at), approx_percentile(duration_ns, 0.5) FROM spans GROUP BY 1 ORDER BY 1",
        "SELECT * FROM spans ORDER BY span_id",
        "SELECT 1 AS a UNION ALL SELECT 2.5 ORDER BY 1",
        "SELECT * FROM service_dependencies ORDER BY source_service",
        "SELECT * FROM spans WHERE false",
        "SHOW TABLES",
        "SHOW COLUMNS FROM spans",
        "EXPLAIN SELECT 1",
        "SELECT unnest(range(100000)) AS n",
    ] {
        let (told, got) = server.runtime.block_on(async {
            let mut client = connect(&server).await;
            client.handshake("anybody", "").await.unwrap();
            let info = client.execute(sql.to_owned(), None).await.unwrap();
            (info.clone().try_decode_schema().unwrap(), rows(&mut client, info).await.unwrap())
        });
        assert!(got.iter().all(|batch| *batch.schema() == told), "{sql}");
        assert_eq!(texts(&got), server.query(sql).rows, "{sql}");
    }
}

#[test]
fn what_changes_something_is_done_when_the_client_has_its_answer() {
    let server = InProcess::start(&[]);
    let create = "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM spans";
    server.runtime.block_on(async {
        let mut client = connect(&server).await;
        let info = client.execute(create.to_owned(), None).await.unwrap();
        assert!(info.endpoint.is_empty());
        assert_eq!(texts(&query(&mut client, "SELECT n FROM v").await.unwrap()), [["0"]]);
        assert_eq!(client.execute_update("DROP VIEW v".to_owned(), None).await.unwrap(), 0);
        let mut prepared = client.prepare(create.to_owned(), None).await.unwrap();
        assert!(prepared.dataset_schema().unwrap().fields().is_empty());
        assert_eq!(prepared.execute_update().await.unwrap(), 0);
        let (code, message) = refusal(client.execute(create.to_owned(), None).await);
        assert_eq!(code, Code::AlreadyExists);
        assert_eq!(message, "relation \"v\" already exists; use CREATE OR REPLACE, or drop it first");
    });
}

#[test]
fn a_prepared_statement_takes_parameters() {
    let server = InProcess::start(&[]);
    server.send(SPANS);
    let sql = "SELECT name FROM spans WHERE service_name = $1 AND duration_ns >= $2 ORDER BY name";
    let values = |service: &[&str], duration: &[i64]| {
        let service: ArrayRef = Arc::new(StringArray::from(service.to_vec()));
        let duration: ArrayRef = Arc::new(Int64Array::from(duration.to_vec()));
        RecordBatch::try_from_iter([("$1", service), ("$2", duration)]).unwrap()
    };
    server.runtime.block_on(async {
        let mut client = connect(&server).await;
        let mut prepared = client.prepare(sql.to_owned(), None).await.unwrap();
        let types: Vec<DataType> =
            prepared.parameter_schema().unwrap().fields().iter().map(|f| f.data_type().clone()).collect();
        assert_eq!(types, [DataType::Utf8, DataType::Int64]);
        assert_eq!(prepared.dataset_schema().unwrap().field(0).name(), "name");
        for (service, duration, expected) in
            [("web", 0, vec!["GET", "call"]), ("web", 20_000_000, vec!["GET"]), ("x' OR true --", 0, vec![])]
        {
            prepared.set_parameters(values(&[service], &[duration])).unwrap();
            let info = prepared.execute().await.unwrap();
            assert_eq!(texts(&rows(&mut client, info).await.unwrap()).concat(), expected, "{service}");
        }
        prepared.set_parameters(values(&["a", "b"], &[1, 2])).unwrap();
        let (code, message) = refusal(prepared.execute().await);
        assert_eq!(code, Code::InvalidArgument);
        assert_eq!(message, "a query takes one row of parameters; run it once for each");
        prepared.set_parameters(values(&["a"], &[1]).project(&[0]).unwrap()).unwrap();
        let info = prepared.execute().await.unwrap();
        let (code, message) = refusal(rows(&mut client, info).await);
        assert_eq!(code, Code::InvalidArgument);
        assert_eq!(message, "the statement has 2 parameters, and 1 values were given");
        let mut closed = prepared.clone();
        prepared.close().await.unwrap();
        assert_eq!(refusal(closed.execute().await).0, Code::NotFound);
    });
}

#[test]
fn tables_are_told_with_their_columns() {
    let server = InProcess::start(&[]);
    server.query("SELECT * FROM service_health");
    server.query("SELECT * FROM service_graph_nodes");
    server.runtime.block_on(async {
        let mut client = connect(&server).await;
        let mut ask = async |request: CommandGetTables| {
            let info = client.get_tables(request).await.unwrap();
            rows(&mut client, info).await.unwrap()
        };
        let all = ask(CommandGetTables::default()).await;
        let row = |name: &str| texts(&all).into_iter().find(|row| row[2] == name).unwrap();
        assert_eq!(row("spans"), ["undercurrent", "public", "spans", "TABLE"]);
        assert_eq!(row("service_health")[3], "MATERIALIZED VIEW");
        assert_eq!(row("service_graph_nodes")[3], "VIEW");
        assert_eq!(row("view_stats")[3], "SYSTEM TABLE");
        let filter = CommandGetTables {
            table_name_filter_pattern: Some("service_%".to_owned()),
            table_types: vec!["VIEW".to_owned(), "MATERIALIZED VIEW".to_owned()],
            include_schema: true,
            ..CommandGetTables::default()
        };
        let some = ask(filter).await;
        for (row, name) in texts(&some).iter().zip(0..) {
            assert!(row[2].starts_with("service_"), "{row:?}");
            let schema = some[0].column(4).as_binary::<i32>().value(name).to_vec();
            let schema = arrow::datatypes::Schema::try_from(IpcMessage(schema.into())).unwrap();
            assert!(
                schema.index_of("service_name").is_ok()
                    || schema.index_of("mainstat").is_ok()
                    || !schema.fields().is_empty(),
                "{row:?}"
            );
        }
        let nodes = texts(&some).iter().position(|row| row[2] == "service_graph_nodes").unwrap();
        let schema = some[0].column(4).as_binary::<i32>().value(nodes).to_vec();
        let schema = arrow::datatypes::Schema::try_from(IpcMessage(schema.into())).unwrap();
        assert_eq!(schema.field(0).name(), "id");
        let info = client.get_catalogs().await.unwrap();
        assert_eq!(texts(&rows(&mut client, info).await.unwrap()), [["undercurrent"]]);
        let info = client.get_db_schemas(CommandGetDbSchemas::default()).await.unwrap();
        assert_eq!(texts(&rows(&mut client, info).await.unwrap()), [["undercurrent", "public"]]);
        let info = client.get_table_types().await.unwrap();
        assert_eq!(
            texts(&rows(&mut client, info).await.unwrap()).concat(),
            ["MATERIALIZED VIEW", "SYSTEM TABLE", "TABLE", "VIEW"]
        );
        let info = client.get_sql_info(vec![SqlInfo::FlightSqlServerName]).await.unwrap();
        let told = rows(&mut client, info).await.unwrap();
        assert_eq!(told[0].num_rows(), 1);
        assert!(texts(&told)[0][1].contains("Undercurrent"));
    });
}

#[test]
fn a_subscription_is_a_stream_without_end() {
    let mut server = InProcess::start(&[]);
    server.query("SELECT * FROM service_health");
    server.send("1/1 web SERVER");
    let subscribe = || {
        server.runtime.block_on(async {
            let mut client = connect(&server).await;
            let info = client.execute("SUBSCRIBE TO service_health".to_owned(), None).await.unwrap();
            assert_eq!(info.clone().try_decode_schema().unwrap().field(1).name(), "diff");
            client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap()
        })
    };
    let mut stream = subscribe();
    let mut next = || server.runtime.block_on(stream.try_next()).map(Option::unwrap);
    let first = next().unwrap();
    let column = |batch: &RecordBatch| {
        batch.column_by_name("service_name").unwrap().as_string::<i32>().value(0).to_owned()
    };
    assert_eq!((column(&first), first.column(1).as_primitive::<Int64Type>().value(0)), ("web".to_owned(), 1));
    assert_eq!(open(&server), 1);
    server.send("2/2 cart SERVER");
    let second = next().unwrap();
    assert_eq!(column(&second), "cart");
    drop(stream);
    eventually(|| open(&server), |open| *open == 0);
    // The server stops while somebody follows.
    let mut stream = subscribe();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let last = runtime.spawn(async move {
        loop {
            if let Err(error) = stream.try_next().await.map(Option::unwrap) {
                return error;
            }
        }
    });
    server.stop();
    let error = runtime.block_on(last).unwrap();
    assert_eq!(refusal(Err::<(), _>(error)), (Code::Unavailable, "the server stops".to_owned()));
}

#[test]
fn errors_have_the_codes_of_grpc() {
    let server =
        InProcess::start(&[("limits.statement_bytes_max", "1 KiB"), ("limits.statement_timeout", "300ms")]);
    let slow = many(100_000, 1_000_000, "sum(a.n * b.m)");
    let long = format!("SELECT '{}'", "x".repeat(2_000));
    let longer = format!("SELECT '{}'", "x".repeat(3_000_000));
    server.runtime.block_on(async {
        let mut client = connect(&server).await;
        for (sql, code, message) in [
            ("SELEC 1", Code::InvalidArgument, "SELEC"),
            ("SELECT 1; SELECT 2", Code::InvalidArgument, "2 statements came"),
            ("", Code::InvalidArgument, "there is no statement"),
            (
                "SELECT * FROM span",
                Code::NotFound,
                "relation \"span\" does not exist; did you mean \"spans\"?",
            ),
            ("SUBSCRIBE TO nothing", Code::NotFound, "nothing"),
            ("SELECT 1 / 0", Code::FailedPrecondition, "ivide"),
            (&slow, Code::DeadlineExceeded, "limits.statement_timeout"),
            (&long, Code::ResourceExhausted, "limits.statement_bytes_max"),
            (&longer, Code::OutOfRange, "too large"),
        ] {
            let refused = refusal(query(&mut client, sql).await);
            assert!(refused.0 == code && refused.1.contains(message), "{sql:.60}: {refused:?}");
        }
    });
    server.runtime.block_on(server.live.stop());
    server.runtime.block_on(async {
        let mut client = connect(&server).await;
        assert_eq!(refusal(query(&mut client, "SELECT 1").await).0, Code::Unavailable);
        let info = client.get_tables(CommandGetTables::default()).await.unwrap();
        assert_eq!(refusal(rows(&mut client, info).await).0, Code::Unavailable);
    });
}

#[test]
fn wrong_tickets_are_refused_and_tickets_can_be_taken_back() {
    let server = InProcess::start(&[]);
    server.runtime.block_on(async {
        let mut client = connect(&server).await;
        let ticket = |handle: &[u8]| {
            let statement_handle = handle.to_vec().into();
            Ticket::new(TicketStatementQuery { statement_handle }.as_any().encode_to_vec())
        };
        let prepared = CommandPreparedStatementQuery { prepared_statement_handle: vec![7; 16].into() };
        for (ticket, code) in [
            (ticket(b"guessed"), Code::NotFound),
            (ticket(&[0; 16]), Code::NotFound),
            (Ticket::new(prepared.as_any().encode_to_vec()), Code::NotFound),
            (Ticket::new(&b"\xff\xff garbage"[..]), Code::InvalidArgument),
        ] {
            let got = client.do_get(ticket).await;
            let got = match got {
                Ok(stream) => stream.try_collect::<Vec<_>>().await,
                Err(error) => Err(error),
            };
            assert_eq!(refusal(got).0, code);
        }
        let info = client.execute("SELECT 1".to_owned(), None).await.unwrap();
        let body = CancelFlightInfoRequest::new(info.clone()).encode_to_vec().into();
        let action = Action { r#type: "CancelFlightInfo".to_owned(), body };
        let mut results = client.do_action(action.clone()).await.unwrap();
        let result = results.message().await.unwrap().unwrap();
        let result = CancelFlightInfoResult::decode(result.body).unwrap();
        assert_eq!(result.status(), CancelStatus::Cancelled);
        assert_eq!(refusal(rows(&mut client, info).await).0, Code::NotFound);
        assert_eq!(texts(&query(&mut client, "SELECT 1").await.unwrap()), [["1"]]);
    });
}

#[test]
fn garbage_is_refused_and_others_are_answered() {
    let server = InProcess::start(&[("limits.request_timeout", "300ms")]);
    for garbage in [
        &b"\x00\x01\x02\x03\xff\xfe\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot a frame at all, and long enough",
        b"POST /arrow.flight.protocol.FlightService/DoGet HTTP/1.1\r\nhost: x\r\n",
    ] {
        let mut stream = std::net::TcpStream::connect(server.flight_sql()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(garbage).unwrap();
        // The server closes; that it does so at all is what is asked here.
        let _ = stream.read_to_end(&mut vec![]).map_err(|error| {
            assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}")
        });
    }
    server.runtime.block_on(async {
        let mut client = connect(&server).await;
        let wrong = Action { r#type: "CreatePreparedStatement".to_owned(), body: vec![0xff; 64].into() };
        assert_eq!(refusal(client.do_action(wrong).await).0, Code::InvalidArgument);
        let wrong = Action { r#type: "Nothing".to_owned(), body: Default::default() };
        assert_eq!(refusal(client.do_action(wrong).await).0, Code::Unimplemented);
        assert_eq!(texts(&query(&mut client, "SELECT 1").await.unwrap()), [["1"]]);
    });
}

#[test]
fn adbc_from_python() {
    let server = InProcess::start(&[]);
    server.send(SPANS);
    assert_eq!(python::script("flight_sql.py", &[server.flight_sql().to_string()]), "done\n");
}
