//! Arrow Flight SQL: statements and their rows in Arrow's own form, for ADBC and JDBC.
//!
//! A query is planned by GetFlightInfo and runs in DoGet. What changes something (CREATE, DROP) is carried out by
//! GetFlightInfo, or by a DoPut of an update, so that it is done when the client has its answer. A SUBSCRIBE is a
//! stream without end. Parameters are `$1`, `$2`, ...; transactions there are none.

mod answer;
mod handles;
mod metadata;
mod service;
mod status;

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow_flight::flight_service_server::FlightServiceServer;
use tonic::service::Routes;

use self::handles::Handles;
use super::Context;
use super::listener::Listener;
use super::subscribers::Subscribers;
use crate::sql::question::Parameter;

/// The name of the protocol in metrics.
const PROTOCOL: &str = "flight_sql";

/// How long a ticket is good.
const TICKET_LIFETIME: Duration = Duration::from_secs(300);

/// How long a prepared statement is kept after its last use.
const PREPARED_LIFETIME: Duration = Duration::from_secs(3600);

/// What a request has beside the text of a statement, such as values of parameters.
const REQUEST_BYTES: usize = 1 << 20;

/// A statement that a ticket stands for.
#[derive(Clone)]
struct Ticketed {
    sql: Arc<str>,
    values: Arc<[Parameter]>,
    /// The columns that were told of it.
    columns: SchemaRef,
}

/// A prepared statement.
#[derive(Clone)]
struct Prepared {
    sql: Arc<str>,
    /// The values of its parameters that were bound last.
    values: Arc<[Parameter]>,
}

/// The service.
#[derive(Clone)]
struct FlightSql {
    context: Context,
    tickets: Arc<Handles<Ticketed>>,
    prepared: Arc<Handles<Prepared>>,
    subscribers: Subscribers,
}

pub(super) async fn serve(context: Context, listener: Listener) {
    let request_bytes_max = context.config.statement_bytes_max + REQUEST_BYTES;
    let service = FlightSql {
        subscribers: Subscribers::new(&context, PROTOCOL),
        context,
        tickets: Arc::new(Handles::new("ticket", TICKET_LIFETIME)),
        prepared: Arc::new(Handles::new("prepared statement", PREPARED_LIFETIME)),
    };
    let server = FlightServiceServer::new(service).max_decoding_message_size(request_bytes_max);
    listener.run_http(Routes::new(server).into_axum_router()).await;
}
