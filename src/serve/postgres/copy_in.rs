//! COPY ... FROM STDIN: rows of a client into a table.

use std::time::Duration;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use pgwire::messages::copy::CopyInResponse;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use tokio::sync::watch;

use super::answer::shutdown;
use super::cancel::Cancellable;
use super::command::CopyTarget;
use super::copy_text::Reader;
use super::error::Fault;
use super::session::Session;
use super::simple::complete;
use super::wire::Receiver;
use crate::serve::stopped;
use crate::sql::write::{CopyIn, Write};

/// The most bytes of one COPY, as they are sent: all of them are held until the last has come.
const COPY_BYTES_MAX: usize = 256 << 20;

impl Session {
    /// Takes rows until the client says that these are all, and adds them to a table: all of them, or none.
    pub async fn copy_in(&mut self, target: &CopyTarget) -> Result<(), Fault> {
        let (_, catalog) = self.shared.context.live.reader().catalog();
        let definition = crate::sql::write::table_of(&target.table, &catalog);
        let definition = definition.map_err(|error| self.shared.fault(error, ""))?;
        let all = || definition.schema.fields().iter().map(|field| field.name().clone()).collect();
        let columns: Vec<String> = if target.columns.is_empty() { all() } else { target.columns.clone() };
        let fields: Vec<Field> = columns.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
        let mut reader = Reader::new(&target.format, Schema::new(fields).into());
        let response = CopyInResponse::new(0, columns.len() as i16, vec![0; columns.len()]);
        self.sender.put(PgWireBackendMessage::CopyInResponse(response))?;
        self.sender.flush().await?;
        let time = self.shared.context.config.statement_timeout;
        let mut bytes = 0;
        while let Some(data) = next(&mut self.receiver, &self.cancellable, &mut self.stop, time).await? {
            bytes += data.len();
            if bytes > COPY_BYTES_MAX {
                let message = format!("a COPY brings more than {COPY_BYTES_MAX} bytes");
                return Err(Fault::error("54000", message).hint("Copy in portions."));
            }
            reader.read(&data)?;
        }
        let copy = CopyIn { table: target.table.clone(), columns, rows: reader.finish()? };
        let written = self.writing.write(&self.shared, Write::Copy(copy), vec![]).await;
        let written = written.map_err(|error| self.shared.fault(error, ""))?;
        complete(&mut self.sender, written.tag())
    }
}

/// The next bytes of the client; `None` once it has said that there are no more.
async fn next(
    receiver: &mut Receiver,
    cancellable: &Cancellable,
    stop: &mut watch::Receiver<bool>,
    time: Duration,
) -> Result<Option<bytes::Bytes>, Fault> {
    loop {
        let message = tokio::select! {
            message = receiver.next() => message?.ok_or_else(Fault::gone)?,
            () = cancellable.cancelled() => return Err(Fault::cancelled()),
            () = stopped(stop) => return Err(shutdown()),
            () = tokio::time::sleep(time) => {
                let message = format!("no more rows came within {time:?} (limits.statement_timeout)");
                return Err(Fault::error("57014", message));
            }
        };
        match message {
            PgWireFrontendMessage::CopyData(data) => return Ok(Some(data.data)),
            PgWireFrontendMessage::CopyDone(_) => return Ok(None),
            PgWireFrontendMessage::CopyFail(fail) => {
                return Err(Fault::error("57014", format!("COPY from stdin failed: {}", fail.message)));
            }
            // Sent ahead by those who do not wait for the answer: it has no meaning here.
            PgWireFrontendMessage::Sync(_) | PgWireFrontendMessage::Flush(_) => {}
            _ => return Err(Fault::fatal("08P01", "rows of a COPY are expected")),
        }
    }
}
