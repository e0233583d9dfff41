//! How any sink delivers: what waits is handed to its destination, and let go when it has arrived.

use std::time::Duration;

use tokio::runtime::Handle;

use super::ConnectError;
use super::encode::{Encoder, Message};
use super::file::FileSink;
use super::kafka::sink::KafkaSink;
use super::supervisor::Stop;
use super::webhook::Webhook;
use crate::delta::updates::Tick;
use crate::engine::{Condition, DefinedSink};
use crate::sql::connector::Target;

/// Changes that most destinations are given together.
const ROWS_MAX: usize = 20_000;

/// How long it waits for changes before it looks after its connection.
const IDLE: Duration = Duration::from_secs(1);

/// The messages of one tick.
pub(super) struct Told {
    pub tick: Tick,
    pub messages: Vec<Message>,
}

/// What a sink writes to.
pub(super) trait Destination {
    /// The last tick that is there, where it can tell: after a crash more may be than the engine knows.
    fn last(&mut self) -> Result<Option<Tick>, ConnectError>;
    /// Writes `ticks`, all of them or none, as far as it can.
    fn deliver(&mut self, ticks: &[Told]) -> Result<(), ConnectError>;
    /// Changes that are delivered together, unless one tick has more.
    fn rows_max(&self) -> usize {
        ROWS_MAX
    }
    /// Nothing was delivered for a while.
    fn idle(&mut self) {}
}

/// Delivers the changes of `sink` until it is to end or fails.
pub(super) fn run(sink: &DefinedSink, handle: &Handle, stop: &Stop) -> Result<(), ConnectError> {
    let (definition, outbox) = (&sink.definition, &sink.outbox);
    let encoder = Encoder::new(definition, &outbox.schema, handle, stop)?;
    let mut destination: Box<dyn Destination> = match definition.target {
        Target::Kafka => Box::new(KafkaSink::connect(definition, handle)?),
        Target::File => Box::new(FileSink::open(definition)?),
        Target::Webhook => Box::new(Webhook::new(definition, handle, stop)?),
    };
    outbox.begin(destination.last()?).map_err(ConnectError::Ahead)?;
    sink.switch.activity.tell(Condition::Running);
    while !stop.is_due() {
        let deliveries = outbox.next(destination.rows_max());
        let Some(last) = deliveries.last().map(|delivery| delivery.tick) else {
            handle.block_on(async {
                tokio::select! {
                    () = outbox.more() => {}
                    () = stop.due() => {}
                    () = tokio::time::sleep(IDLE) => destination.idle(),
                }
            });
            continue;
        };
        let mut ticks = Vec::with_capacity(deliveries.len());
        for delivery in &deliveries {
            ticks.push(Told { tick: delivery.tick, messages: encoder.messages(delivery)? });
        }
        destination.deliver(&ticks)?;
        outbox.delivered(last);
        let all = ticks.iter().flat_map(|told| &told.messages);
        let bytes = |message: &Message| message.value.as_ref().map_or(0, Vec::len) as u64;
        let (count, bytes) = all.fold((0, 0), |(count, sum), message| (count + 1, sum + bytes(message)));
        sink.switch.activity.moved(count, bytes);
    }
    Ok(())
}
