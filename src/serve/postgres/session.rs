//! One client: its state, and the loop over its messages.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use pgwire::messages::response::{ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::{Authentication, BackendKeyData, ParameterStatus, SecretKey};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Shared;
use super::answer::{Outcome, Source, Tag, shutdown};
use super::cancel::Cancellable;
use super::command::Command;
use super::error::Fault;
use super::extended::{Portal, Prepared};
use super::settings::{Settings, reported};
use super::startup::Started;
use super::transaction::Writing;
use super::wire::{Receiver, Sender, split};
use crate::serve::stopped;
use crate::sql::pg_catalog::Client;

/// A client with its settings, prepared statements and portals.
pub(super) struct Session {
    pub shared: Arc<Shared>,
    pub receiver: Receiver,
    pub sender: Sender,
    pub cancellable: Cancellable,
    /// Who asks, as functions of the catalog tell it.
    pub client: Arc<Client>,
    pub status: TransactionStatus,
    pub writing: Writing,
    pub prepared: HashMap<String, Arc<Prepared>>,
    pub portals: HashMap<String, Portal>,
    settings: Settings,
    pub stop: watch::Receiver<bool>,
    /// After an error in the extended protocol, messages are skipped up to the next Sync.
    skips: bool,
}

impl Session {
    /// Begins a session, and tells the client so.
    pub async fn open(shared: Arc<Shared>, started: Started) -> Result<Self, Fault> {
        let config = &shared.context.config;
        let (receiver, sender) = split(started.stream, config.statement_bytes_max, config.statement_timeout);
        let cancellable = shared.cancels.register();
        let settings = Settings::new(&started.parameters);
        let user = started.parameters.get("user").cloned().unwrap_or_default();
        let client = Client { user, process_id: cancellable.id, settings: settings.all() };
        let mut session = Session {
            stop: shared.context.stop.clone(),
            shared,
            receiver,
            sender,
            client: Arc::new(client),
            status: TransactionStatus::Idle,
            writing: Writing::default(),
            prepared: HashMap::new(),
            portals: HashMap::new(),
            settings,
            cancellable,
            skips: false,
        };
        session.greet()?;
        session.ready().await?;
        Ok(session)
    }

    fn greet(&mut self) -> Result<(), Fault> {
        self.sender.put(PgWireBackendMessage::Authentication(Authentication::Ok))?;
        for name in reported() {
            self.report(name)?;
        }
        let secret = SecretKey::I32(self.cancellable.secret);
        let key = BackendKeyData::new(self.cancellable.id, secret);
        self.sender.put(PgWireBackendMessage::BackendKeyData(key))
    }

    /// Tells the client the value of a setting.
    fn report(&mut self, name: &str) -> Result<(), Fault> {
        let (name, value) = self.settings.get(name)?;
        self.sender.put(PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name, value)))
    }

    /// Answers the client until it leaves, or the servers stop.
    pub async fn run(&mut self) -> Result<(), Fault> {
        loop {
            let result = match self.message().await {
                Ok(Some(message)) => self.handle(message).await,
                Ok(None) => return Ok(()),
                Err(fault) => Err(fault),
            };
            match result {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(fault) => {
                    // The last word; when it cannot be said, the connection is gone anyway.
                    if let Some(message) = fault.message() {
                        self.sender.put(message)?;
                        self.sender.close().await?;
                        self.receiver.drain().await;
                    }
                    return Err(fault);
                }
            }
        }
    }

    /// The next message. Answers that are partly sent are dropped when their time is over: they hold memory, and
    /// one of the places of running queries.
    async fn message(&mut self) -> Result<Option<PgWireFrontendMessage>, Fault> {
        loop {
            let deadline = self.portals.values().filter_map(Portal::deadline).min();
            let expiry = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = self.receiver.next() => return message,
                () = stopped(&mut self.stop) => return Err(shutdown()),
                () = expiry => self.portals.values_mut().for_each(|portal| portal.expire(Instant::now())),
            }
        }
    }

    /// Answers one message; whether there may be more. Errors end the connection.
    async fn handle(&mut self, message: PgWireFrontendMessage) -> Result<bool, Fault> {
        if self.skips
            && !matches!(message, PgWireFrontendMessage::Sync(_) | PgWireFrontendMessage::Terminate(_))
        {
            return Ok(true);
        }
        let result = match message {
            PgWireFrontendMessage::Query(query) => {
                self.simple(&query.query).await?;
                return self.ready().await.map(|()| true);
            }
            PgWireFrontendMessage::Parse(parse) => self.parse(parse).await,
            PgWireFrontendMessage::Bind(bind) => self.bind(bind),
            PgWireFrontendMessage::Describe(describe) => self.describe(&describe),
            PgWireFrontendMessage::Execute(execute) => self.execute(&execute).await,
            PgWireFrontendMessage::Close(close) => self.close(&close),
            PgWireFrontendMessage::Flush(_) => match self.reveal().await {
                Ok(()) => self.sender.flush().await,
                Err(fault) => Err(fault),
            },
            PgWireFrontendMessage::Sync(_) => {
                self.skips = false;
                if self.status == TransactionStatus::Idle {
                    self.portals.clear();
                }
                self.ready().await
            }
            PgWireFrontendMessage::Terminate(_) => return Ok(false),
            // What a client still sends of a COPY that was refused.
            PgWireFrontendMessage::CopyData(_)
            | PgWireFrontendMessage::CopyDone(_)
            | PgWireFrontendMessage::CopyFail(_) => Ok(()),
            _ => Err(Fault::fatal("08P01", "this message is not expected here")),
        };
        if let Err(fault) = result {
            self.tell(fault)?;
            self.skips = true;
        }
        // Answers gather until the client asks for them, but not without bound.
        self.sender.flush_much().await?;
        Ok(true)
    }

    /// Tells the client of an error; one that ends the connection is handed on.
    pub fn tell(&mut self, fault: Fault) -> Result<(), Fault> {
        if matches!(&fault, Fault::Told(told) if told.is_fatal) {
            return Err(fault);
        }
        let Some(message) = fault.message() else { return Err(fault) };
        if self.status == TransactionStatus::Transaction {
            self.status = TransactionStatus::Error;
        }
        self.sender.put(message)
    }

    /// Waits until all see what the client has done: it is told so.
    async fn reveal(&mut self) -> Result<(), Fault> {
        let shown = self.shared.show(&self.writing).await;
        shown.map_err(|error| self.shared.fault(error, ""))
    }

    async fn ready(&mut self) -> Result<(), Fault> {
        self.reveal().await?;
        self.sender.put(PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(self.status)))?;
        self.sender.flush().await
    }

    /// An error for all but the end of a transaction that has failed.
    pub fn check_transaction(&self, command: &Command) -> Result<(), Fault> {
        match self.status == TransactionStatus::Error && !command.ends_transaction() {
            true => Err(Fault::error(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            )),
            false => Ok(()),
        }
    }

    /// The time a statement may take beside the server's own limit.
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.settings.statement_timeout()
    }

    /// Carries out a statement about the session itself; `None` when it is one for the engine.
    pub fn conduct(&mut self, command: &Command) -> Result<Option<Outcome>, Fault> {
        let tag = match command {
            Command::Ours { .. } | Command::Catalog(_) | Command::Copy { .. } | Command::CopyIn(_) => {
                return Ok(None);
            }
            Command::Show(name) => return self.show(name.as_deref()).map(Some),
            Command::Begin => self.turn(TransactionStatus::Transaction, "BEGIN"),
            Command::Commit if self.status == TransactionStatus::Error => {
                self.turn(TransactionStatus::Idle, "ROLLBACK")
            }
            Command::Commit => self.turn(TransactionStatus::Idle, "COMMIT"),
            Command::Rollback => self.turn(TransactionStatus::Idle, "ROLLBACK"),
            Command::RollbackTo(name) => match self.status {
                TransactionStatus::Idle => return Err(outside("ROLLBACK TO SAVEPOINT")),
                _ => {
                    self.writing.roll_back_to(name)?;
                    self.status = TransactionStatus::Transaction;
                    "ROLLBACK"
                }
            },
            Command::Savepoint(_) if self.status == TransactionStatus::Idle => {
                return Err(outside("SAVEPOINT"));
            }
            Command::Savepoint(name) => {
                self.writing.save(name)?;
                "SAVEPOINT"
            }
            Command::Release(_) if self.status == TransactionStatus::Idle => {
                return Err(outside("RELEASE SAVEPOINT"));
            }
            Command::Release(name) => {
                self.writing.release(name)?;
                "RELEASE"
            }
            Command::Set { name, value } => {
                let told = self.settings.set(name, value)?;
                self.changed(told)?;
                "SET"
            }
            Command::SetNothing => "SET",
            Command::Reset(name) => {
                let told = self.settings.reset(name.as_deref())?;
                self.changed(told)?;
                "RESET"
            }
            Command::Discard(what) => return self.discard(what).map(Some),
            Command::Deallocate(None) => {
                self.prepared.clear();
                "DEALLOCATE ALL"
            }
            Command::Deallocate(Some(name)) => match self.prepared.remove(name) {
                Some(_) => "DEALLOCATE",
                None => return Err(missing_statement(name)),
            },
            Command::Close(None) => {
                self.portals.clear();
                "CLOSE CURSOR ALL"
            }
            Command::Close(Some(name)) => match self.portals.remove(name) {
                Some(_) => "CLOSE CURSOR",
                None => return Err(Fault::error("34000", format!("cursor \"{name}\" does not exist"))),
            },
            Command::Unlisten => "UNLISTEN",
        };
        Ok(Some(Outcome::Done(tag.to_owned())))
    }

    /// Moves on to another state of the transaction; portals end with it.
    fn turn(&mut self, status: TransactionStatus, tag: &'static str) -> &'static str {
        self.status = status;
        self.writing.turn(status == TransactionStatus::Transaction);
        if status == TransactionStatus::Idle {
            self.portals.clear();
        }
        tag
    }

    /// Whether a statement of the transaction has failed.
    pub fn has_failed(&self) -> bool {
        self.status == TransactionStatus::Error
    }

    /// Ends the transaction, without what it has not committed.
    pub fn end_transaction(&mut self) {
        self.turn(TransactionStatus::Idle, "ROLLBACK");
    }

    fn discard(&mut self, what: &str) -> Result<Outcome, Fault> {
        let tag = match what {
            "ALL" => {
                let told = self.settings.reset(None)?;
                self.changed(told)?;
                self.prepared.clear();
                self.portals.clear();
                "DISCARD ALL"
            }
            "PLANS" => "DISCARD PLANS",
            "SEQUENCES" => "DISCARD SEQUENCES",
            "TEMP" | "TEMPORARY" => "DISCARD TEMP",
            _ => return Err(Fault::error("42601", "DISCARD takes ALL, PLANS, SEQUENCES or TEMP")),
        };
        Ok(Outcome::Done(tag.to_owned()))
    }

    /// Tells the client, and the functions of the catalog, of settings that changed.
    fn changed(&mut self, told: impl IntoIterator<Item = &'static str>) -> Result<(), Fault> {
        let client = Client { settings: self.settings.all(), ..Client::clone(&self.client) };
        self.client = Arc::new(client);
        told.into_iter().try_for_each(|name| self.report(name))
    }

    fn show(&self, name: Option<&str>) -> Result<Outcome, Fault> {
        let (names, rows): (Vec<String>, Vec<Vec<String>>) = match name {
            Some(name) => {
                let (name, value) = self.settings.get(name)?;
                (vec![name], vec![vec![value]])
            }
            None => {
                let all: BTreeMap<String, String> = self.settings.all();
                let rows = all.into_iter().map(|(name, value)| vec![name, value, String::new()]);
                (["name", "setting", "description"].map(str::to_owned).into(), rows.collect())
            }
        };
        let fields: Vec<Field> = names.iter().map(|name| Field::new(name, DataType::Utf8, false)).collect();
        let schema = Arc::new(Schema::new(fields));
        let columns = (0..names.len()).map(|column| {
            let values = rows.iter().map(|row| &row[column]);
            Arc::new(StringArray::from_iter_values(values)) as ArrayRef
        });
        let batch = RecordBatch::try_new(schema.clone(), columns.collect());
        let batch = batch.map_err(|error| Fault::of(error.into(), ""))?;
        Ok(Outcome::Rows(Source::of(schema, vec![batch]), Tag::Word("SHOW")))
    }
}

/// Runs `work`, unless it is cancelled, takes longer than `timeout`, or the client leaves.
pub(super) async fn guarded<T>(
    receiver: &mut Receiver,
    cancellable: &Cancellable,
    timeout: Option<Duration>,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let expiry = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        result = work => result,
        () = cancellable.cancelled() => Err(Fault::cancelled()),
        () = expiry => Err(Fault::error("57014", "canceling statement due to statement timeout")),
        () = receiver.gone() => Err(Fault::gone()),
    }
}

/// That a prepared statement is not there.
pub(super) fn missing_statement(name: &str) -> Fault {
    Fault::error("26000", format!("prepared statement \"{name}\" does not exist"))
}

fn outside(what: &str) -> Fault {
    Fault::error("25P01", format!("{what} can only be used in transaction blocks")).hint("BEGIN one.")
}
