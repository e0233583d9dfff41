//! The calls of Flight SQL.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, CommandGetCatalogs,
    CommandGetDbSchemas, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementQuery,
    CommandStatementUpdate, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor,
    FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage, SchemaAsIpc, Ticket,
};
use futures::{Stream, TryStreamExt, stream};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::answer::{DataStream, Shape, encoded, one};
use super::metadata;
use super::status::{internal, status};
use super::{FlightSql, Prepared, Ticketed};
use crate::sql::error::SqlError;
use crate::sql::question::Parameter;
use crate::sql::statement::Statement;

/// The action that takes the tickets of an answer back.
const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";

/// The most rows of parameters that one update takes.
const PARAMETER_ROWS_MAX: usize = 100_000;

/// What an update answers that does not count rows.
const ROWS_UNKNOWN: i64 = -1;

impl FlightSql {
    /// The text of a statement, if it is not too long.
    fn text(&self, sql: &str) -> Result<Arc<str>, Status> {
        let max = self.context.config.statement_bytes_max;
        match sql.len() <= max {
            true => Ok(sql.into()),
            false => Err(Status::resource_exhausted(format!(
                "the statement is longer than {max} bytes (limits.statement_bytes_max)"
            ))),
        }
    }

    /// Carries `sql` out if it is a command, else makes a ticket for its rows.
    async fn flight_info(
        &self,
        sql: Arc<str>,
        values: Arc<[Parameter]>,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let statement = one(&sql)?;
        let info = FlightInfo::new().with_descriptor(request.into_inner());
        if statement.is_command() {
            self.command(statement, vec![values.to_vec()]).await?;
            return Ok(Response::new(info.try_with_schema(&Schema::empty()).map_err(internal)?));
        }
        let columns = self.shape(statement).await?.columns;
        let bytes = sql.len() + values.iter().map(Parameter::size).sum::<usize>();
        let ticketed = Ticketed { sql, values, columns: columns.clone() };
        let statement_handle = self.tickets.insert(ticketed, bytes)?.into();
        let ticket = Ticket::new(TicketStatementQuery { statement_handle }.as_any().encode_to_vec());
        let info = info.with_endpoint(FlightEndpoint::new().with_ticket(ticket)).with_ordered(true);
        let info = info.try_with_schema(&columns).map_err(internal)?;
        Ok(Response::new(info))
    }

    /// Takes the tickets of an answer back. Streams under way end when their client ends them.
    fn cancel(&self, info: FlightInfo) -> Result<CancelStatus, Status> {
        let mut is_cancelled = false;
        for ticket in info.endpoint.into_iter().filter_map(|endpoint| endpoint.ticket) {
            let any = Any::decode(ticket.ticket).map_err(undecodable)?;
            if let Some(ticket) = any.unpack::<TicketStatementQuery>().map_err(internal)? {
                is_cancelled |= self.tickets.remove(&ticket.statement_handle);
            }
        }
        Ok(if is_cancelled { CancelStatus::Cancelled } else { CancelStatus::NotCancellable })
    }

    /// The rows of parameters of `request`, in time.
    async fn received(
        &self,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<Vec<Vec<Parameter>>, Status> {
        let time = self.context.config.request_timeout;
        let rows = tokio::time::timeout(time, values(request.into_inner())).await;
        rows.map_err(|_| {
            Status::deadline_exceeded(format!("no parameters within {time:?} (limits.request_timeout)"))
        })?
    }

    async fn update(&self, statement: Statement, rows: Vec<Vec<Parameter>>) -> Result<i64, Status> {
        let is_counted = statement.changes_something();
        let count = self.command(statement, rows).await?;
        Ok(if is_counted { count } else { ROWS_UNKNOWN })
    }
}

fn undecodable(error: prost::DecodeError) -> Status {
    Status::invalid_argument(format!("the request cannot be decoded: {error}"))
}

/// The answer to a question about metadata: where to ask again, for `batch` or one like it.
fn metadata_info(
    command: &impl ProstMessageExt,
    schema: &Schema,
    request: Request<FlightDescriptor>,
) -> Result<Response<FlightInfo>, Status> {
    let ticket = Ticket::new(command.as_any().encode_to_vec());
    let info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(internal)?
        .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
        .with_descriptor(request.into_inner());
    Ok(Response::new(info))
}

fn metadata_rows(batch: Result<RecordBatch, SqlError>) -> Result<Response<DataStream>, Status> {
    let batch = batch.map_err(status)?;
    Ok(Response::new(encoded(batch.schema(), stream::iter([Ok(batch)]))))
}

/// A schema as Flight's messages hold it.
fn ipc(schema: &Schema) -> Result<Vec<u8>, ArrowError> {
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into()?;
    Ok(bytes.to_vec())
}

/// The rows of parameters that a client sends.
async fn values(data: PeekableFlightDataStream) -> Result<Vec<Vec<Parameter>>, Status> {
    // Who has none sends a message that says only which statement it is.
    let data = data.try_filter(|data| std::future::ready(!data.data_header.is_empty()));
    let data = data.map_err(|error| FlightError::Tonic(Box::new(error)));
    let mut batches = FlightRecordBatchStream::new_from_flight_data(data);
    let mut rows = vec![];
    while let Some(batch) = batches.try_next().await.map_err(Status::from)? {
        for row in 0..batch.num_rows() {
            let value = |column: &ArrayRef| Parameter::try_from_array(column, row);
            let row = batch.columns().iter().map(value).collect::<Result<_, _>>();
            rows.push(row.map_err(|e| status(SqlError::from(e)))?);
            if rows.len() > PARAMETER_ROWS_MAX {
                return Err(Status::resource_exhausted(format!(
                    "more than {PARAMETER_ROWS_MAX} rows of parameters; send fewer at a time"
                )));
            }
        }
    }
    Ok(rows)
}

#[tonic::async_trait]
impl FlightSqlService for FlightSql {
    type FlightService = FlightSql;

    /// Anybody is let in, and no token is needed.
    async fn do_handshake(
        &self,
        _request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>, Status> {
        let answer = HandshakeResponse { protocol_version: 0, payload: Default::default() };
        Ok(Response::new(Box::pin(stream::iter([Ok(answer)]))))
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.flight_info(self.text(&query.query)?, Arc::default(), request).await
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let Prepared { sql, values } = self.prepared.get(&query.prepared_statement_handle)?;
        self.flight_info(sql, values, request).await
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        _request: Request<Ticket>,
    ) -> Result<Response<DataStream>, Status> {
        let Ticketed { sql, values, columns } = self.tickets.get(&ticket.statement_handle)?;
        self.stream(one(&sql)?, &values, Some(columns)).await
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        _request: Request<Ticket>,
    ) -> Result<Response<DataStream>, Status> {
        let Prepared { sql, values } = self.prepared.get(&query.prepared_statement_handle)?;
        self.stream(one(&sql)?, &values, None).await
    }

    async fn do_put_statement_update(
        &self,
        update: CommandStatementUpdate,
        _request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        self.update(one(&self.text(&update.query)?)?, vec![]).await
    }

    async fn do_put_prepared_statement_update(
        &self,
        update: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let prepared = self.prepared.get(&update.prepared_statement_handle)?;
        let mut rows = self.received(request).await?;
        if rows.is_empty() {
            rows.push(prepared.values.to_vec());
        }
        self.update(one(&prepared.sql)?, rows).await
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let handle = query.prepared_statement_handle;
        let Prepared { sql, .. } = self.prepared.get(&handle)?;
        let mut rows = self.received(request).await?;
        if rows.len() > 1 {
            let message = "a query takes one row of parameters; run it once for each";
            return Err(Status::invalid_argument(message));
        }
        let values = rows.pop().unwrap_or_default();
        let bytes = sql.len() + values.iter().map(Parameter::size).sum::<usize>();
        self.prepared.replace(&handle, Prepared { sql, values: values.into() }, bytes)?;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) })
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        _request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let sql = self.text(&query.query)?;
        let Shape { columns, parameters, is_command } = self.shape(one(&sql)?).await?;
        // No columns at all say to clients that it is an update.
        let dataset_schema = match is_command {
            false => ipc(&columns).map_err(internal)?.into(),
            true => Default::default(),
        };
        let bytes = sql.len();
        let handle = self.prepared.insert(Prepared { sql, values: Arc::default() }, bytes)?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.into(),
            dataset_schema,
            parameter_schema: ipc(&parameters).map_err(internal)?.into(),
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        _request: Request<Action>,
    ) -> Result<(), Status> {
        self.prepared.remove(&query.prepared_statement_handle);
        Ok(())
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        _request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        // The numbers of the one are those of the other.
        let result = self.cancel(FlightInfo::decode(query.info).map_err(undecodable)?)? as i32;
        Ok(ActionCancelQueryResult { result })
    }

    /// The action that took the place of CancelQuery.
    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        let Action { r#type, body } = request.into_inner();
        if r#type != CANCEL_FLIGHT_INFO {
            return Err(Status::unimplemented(format!("there is no action \"{}\"", r#type)));
        }
        let request = CancelFlightInfoRequest::decode(body).map_err(undecodable)?;
        let status = self.cancel(request.info.unwrap_or_default())? as i32;
        let body = CancelFlightInfoResult { status }.encode_to_vec().into();
        Ok(Response::new(Box::pin(stream::iter([Ok(arrow_flight::Result { body })]))))
    }

    async fn list_custom_actions(&self) -> Option<Vec<Result<ActionType, Status>>> {
        let description = "Takes the tickets of a FlightInfo back".to_owned();
        Some(vec![Ok(ActionType { r#type: CANCEL_FLIGHT_INFO.to_owned(), description })])
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        metadata_info(&query, &query.into_builder().schema(), request)
    }

    async fn do_get_catalogs(
        &self,
        query: CommandGetCatalogs,
        _request: Request<Ticket>,
    ) -> Result<Response<DataStream>, Status> {
        metadata_rows(metadata::catalogs(query).map_err(SqlError::from))
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        metadata_info(&query, &query.clone().into_builder().schema(), request)
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        _request: Request<Ticket>,
    ) -> Result<Response<DataStream>, Status> {
        metadata_rows(metadata::schemas(query).map_err(SqlError::from))
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        metadata_info(&query, &query.clone().into_builder().schema(), request)
    }

    async fn do_get_tables(
        &self,
        query: CommandGetTables,
        _request: Request<Ticket>,
    ) -> Result<Response<DataStream>, Status> {
        self.context.live.check().map_err(status)?;
        metadata_rows(metadata::tables(query, &self.context.live).await)
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        metadata_info(&query, &query.into_builder().schema(), request)
    }

    async fn do_get_table_types(
        &self,
        _query: CommandGetTableTypes,
        _request: Request<Ticket>,
    ) -> Result<Response<DataStream>, Status> {
        metadata_rows(metadata::table_types().map_err(SqlError::from))
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let info = metadata::sql_info()?;
        metadata_info(&query, &info.schema(), request)
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        _request: Request<Ticket>,
    ) -> Result<Response<DataStream>, Status> {
        let info = metadata::sql_info()?;
        metadata_rows(info.record_batch(query.info).map_err(|e| metadata::external(e).into()))
    }

    /// What the server can do is told by [`metadata::sql_info`] alone.
    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
