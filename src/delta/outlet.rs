//! Changes of one operator read by other dataflows of the same worker.
//!
//! What an operator by ticks computes for one view, others may need too. Its [`Outlet`] hands each whole
//! tick to them: the batches themselves are shared, and so is the state behind them, which is kept once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use timely::container::NoopBuilder;
use timely::dataflow::Scope;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

use super::collection::Collection;
use super::operator::{Changes, Part, error_updates};
use super::updates::{Tick, Updates};

/// Gives the present rows of an operator, where its state can tell them.
type Snapshot = Box<dyn FnMut() -> Option<Vec<Part>>>;

/// Where the changes of an operator can be taken from. Clones are the same outlet.
#[derive(Clone, Default)]
pub struct Outlet(Rc<Shared>);

#[derive(Default)]
struct Shared {
    readers: RefCell<Vec<Reader>>,
    /// The first tick that is not whole yet; `None` once nothing comes any more.
    upper: Cell<Upper>,
    snapshot: RefCell<Option<Snapshot>>,
    is_off: Cell<bool>,
}

/// The first tick that may still change; closed once none may.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Upper {
    Open(Tick),
    Closed,
}

impl Default for Upper {
    fn default() -> Self {
        Upper::Open(0)
    }
}

/// A dataflow that reads: its queue is gone once it is.
struct Reader {
    queue: Weak<RefCell<Queue>>,
    activator: Activator,
}

/// What a reader has not taken yet.
struct Queue {
    changes: VecDeque<(Tick, Changes)>,
    upper: Upper,
}

impl Outlet {
    /// Hands `changes` of the whole `tick` to those that read.
    pub(super) fn send(&self, tick: Tick, changes: &Changes) {
        if changes.rows.is_empty() && changes.errors.is_empty() {
            return;
        }
        self.0.each(|queue| queue.changes.push_back((tick, changes.clone())));
    }

    /// Tells those that read that all before `upper` is whole; `None`: nothing comes any more.
    pub(super) fn advance(&self, upper: Option<Tick>) {
        let upper = upper.map_or(Upper::Closed, Upper::Open);
        if self.0.upper.replace(upper) != upper {
            self.0.each(|queue| queue.upper = upper);
        }
    }

    /// Says how the present rows are found.
    pub(super) fn on_snapshot(&self, snapshot: impl FnMut() -> Option<Vec<Part>> + 'static) {
        *self.0.snapshot.borrow_mut() = Some(Box::new(snapshot));
    }

    /// Ends the operator behind it: nobody needs what it computes.
    pub fn switch_off(&self) {
        self.0.is_off.set(true);
        *self.0.snapshot.borrow_mut() = None;
    }

    /// Whether the operator behind it has been ended.
    pub(super) fn is_off(&self) -> bool {
        self.0.is_off.get()
    }

    /// The collection in another dataflow of this worker, in the columns of `schema`: its rows at the last
    /// whole tick, dated `start`, where `needs_snapshot`; then its changes.
    ///
    /// `None` where present rows are needed and the operator cannot tell them. Errors that are present are not
    /// told: there must be none.
    pub fn import<'scope>(
        &self,
        scope: Scope<'scope, Tick>,
        schema: SchemaRef,
        start: Tick,
        needs_snapshot: bool,
    ) -> Option<Collection<'scope>> {
        let mut changes = VecDeque::new();
        if needs_snapshot {
            let rows = self.0.snapshot.borrow_mut().as_mut().and_then(|snapshot| snapshot())?;
            changes.push_back((start, Changes { rows, errors: vec![] }));
        }
        let queue = Rc::new(RefCell::new(Queue { changes, upper: self.0.upper.get() }));
        let (collection, activator) = replay(scope, schema, queue.clone());
        activator.activate();
        self.0.readers.borrow_mut().push(Reader { queue: Rc::downgrade(&queue), activator });
        Some(collection)
    }
}

impl Shared {
    /// Calls `f` for the queue of each dataflow that reads, and wakes it.
    fn each(&self, mut f: impl FnMut(&mut Queue)) {
        self.readers.borrow_mut().retain(|reader| {
            let Some(queue) = reader.queue.upgrade() else { return false };
            f(&mut queue.borrow_mut());
            reader.activator.activate();
            true
        });
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.each(|queue| queue.upper = Upper::Closed);
    }
}

/// An operator that gives what comes in `queue`.
fn replay<'scope>(
    scope: Scope<'scope, Tick>,
    schema: SchemaRef,
    queue: Rc<RefCell<Queue>>,
) -> (Collection<'scope>, Activator) {
    let mut builder = OperatorBuilder::new("Import".to_owned(), scope);
    let (rows_out, rows) = builder.new_output::<Updates>();
    let (errors_out, errors) = builder.new_output::<Updates>();
    let mut rows_out = OutputBuilder::<_, NoopBuilder<Updates>>::from(rows_out);
    let mut errors_out = OutputBuilder::<_, NoopBuilder<Updates>>::from(errors_out);
    let activator = scope.activator_for(builder.operator_info().address);
    builder.build(move |mut capabilities| {
        let mut held = capabilities.pop().zip(capabilities.pop());
        move |_frontiers| {
            let Some((errors_capability, rows_capability)) = &mut held else { return };
            let mut queue = queue.borrow_mut();
            for (tick, changes) in queue.changes.drain(..) {
                let mut output = rows_out.activate();
                let mut session = output.session_with_builder(&*rows_capability);
                for (rows, diffs) in changes.rows {
                    let rows = with_schema(rows, &schema);
                    session.give_container(&mut Updates::at(rows, tick, diffs));
                }
                if !changes.errors.is_empty() {
                    let mut output = errors_out.activate();
                    let mut session = output.session_with_builder(&*errors_capability);
                    session.give_container(&mut error_updates(tick, changes.errors));
                }
            }
            match queue.upper {
                Upper::Closed => held = None,
                Upper::Open(upper) => {
                    for capability in [errors_capability, rows_capability] {
                        if *capability.time() < upper {
                            capability.downgrade(&upper);
                        }
                    }
                }
            }
        }
    });
    (Collection { rows, errors }, activator)
}

/// The same columns under the names of `schema`.
fn with_schema(rows: RecordBatch, schema: &SchemaRef) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), rows.columns().to_vec(), &options)
        .expect("columns of the types of the plan that reads them")
}
