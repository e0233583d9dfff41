//! SQL over live telemetry, kept up to date by differential dataflow.
//!
//! Telemetry comes in as OTLP or Parquet, is turned into Arrow record batches once, and stays Arrow
//! until it leaves. Continuous queries, written in SQL, are compiled to dataflows of differential
//! operators that keep their results up to date change by change. Results are SQL tables.
//!
//! ```text
//!  OTLP ── serve ───┐                                                                      ┌─► psql, Grafana, ADBC,
//!  (gRPC, HTTP)     │                                                                      │   HTTP (serve)
//!  Kafka ── connect ├─ telemetry ──► engine ── delta: map · distinct · aggregate · join ──► views ─► subscriptions
//!  files ── ingest ─┘  (OTLP to      (ticks,   ▲   (one operator a file, over Arrow)       └─► Kafka, webhooks,
//!  (in order of time)   Arrow)        workers) │                                                files (connect)
//!                                             sql: SELECT ─► logical plan ─► dataflow
//!                                                  (DataFusion; functions of detect)
//! ```
//!
//! # Layers
//!
//! Each knows only those above it; `tests/it/tidy.rs` keeps it so.
//!
//! | module | what it is |
//! |---|---|
//! | [`fault`] | places at which a test ends the process |
//! | [`telemetry`] | the nouns: Arrow schemas of spans, metrics and logs; OTLP decoded into them |
//! | [`detect`] | pure numerics: quantile sketches, exact sums, isolation forests, change points, baselines, anomaly scores, log templates |
//! | [`delta`] | Arrow-native differential dataflow; knows no SQL |
//! | [`sql`] | the DataFusion session, statements, and the compiler from a SELECT to a dataflow |
//! | [`observe`] | the engine's own metrics |
//! | [`journal`] | what was accepted, on disk, in its order |
//! | [`checkpoint`] | what dataflows have at the end of a tick, on disk |
//! | [`engine`] | workers, the clock, the lives of views, what readers see |
//! | [`config`] | the settings of the server |
//! | [`connect`] | what moves rows from and to other systems: sources from Kafka, sinks to Kafka, webhooks and files |
//! | [`ingest`] | recorded telemetry, read in event-time order |
//! | [`simulate`] | telemetry of a system that is simulated, with the truth about its faults |
//! | [`built_in`] | the files of `queries/` and `models/` |
//! | [`serve`] | the protocols: OTLP in; PostgreSQL, Flight SQL and HTTP out |
//! | [`command`] | the command line |
//!
//! # One SQL, one answer
//!
//! A continuous view is the SELECT's result, maintained: at every closed tick it equals what the same
//! SELECT returns as a batch query over the same input, whatever the order of arrival, the batches, the
//! retractions and the number of workers. Ad-hoc queries and views share functions, types and
//! expressions: DataFusion runs the former, and dataflows evaluate DataFusion's physical expressions
//! and group by DataFusion's own grouping. What would depend on order is replaced in both by a form
//! that does not: floats are summed exactly, percentiles are DDSketch's, and aggregates that depend on the order
//! of rows see them in one canonical order ([`sql::functions::Ordered`]). What cannot be maintained is
//! refused at CREATE, with what to write instead.
//!
//! # Time
//!
//! A [tick](delta::updates::Tick) is the dataflow's timestamp: stream time in milliseconds, totally
//! ordered. All updates between two ticks share one. The stream clock of a replay is the least, over
//! the files still being read, of the largest event time seen; `now()` in a view is the tick, so that
//! a replay gives what live gave. Late rows are ordinary updates: windows they belong to are
//! corrected by a retraction and an insertion.
//!
//! All workers finish a tick before any begins the next, so what they publish is the state of every
//! view at that tick: a query sees all views at one same tick and never waits for a worker.
//!
//! Live, one thread owns the database ([`engine::Live`]): it takes in what arrives under a bound on bytes, closes a
//! tick a second, and carries out statements that change something, while queries run beside it on the published
//! state. The stream clock is the least, over the senders that are not idle, of the latest event time less an allowed
//! disorder ([`engine::StreamClock`]); with all idle it follows the wall clock. What was acknowledged is in that
//! thread's queue, and a stop empties the queue before it closes the last tick.
//!
//! State is kept for ever unless a horizon is set (`--horizon`, or `WITH (horizon = '15 minutes')` on
//! a view). A horizon counts from the tick at which a row came: after it the row is dropped from
//! joins and from DISTINCT, in whole segments and without a retraction, and counted in `view_stats`. MIN and MAX over
//! rows that may be retracted keep single values for one to two horizons.
//!
//! A condition on `now()` is solved, row by row, for the ticks at which it holds ([`delta::temporal_condition`]): rows
//! come and go by a calendar, and what falls due when the clock jumps is sent in portions of one tick. `EMIT ON WINDOW
//! CLOSE` holds the rows of a subscription back until the clock has reached the end of their window.
//!
//! A filter on `now()` over the columns that groups are by (`HAVING minute_at > now() - INTERVAL '1 day'`,
//! or `WITH (retention = '1 day')`) stays at the aggregation, which gives a group's state up as a whole;
//! rows that come for it later are counted as late.
//!
//! # The core
//!
//! One container on every edge, [`Updates`](delta::updates::Updates): a record batch with a time and a
//! diff for each row, both stored once where they are all the same. Since time is totally ordered, an
//! operator with state is a function of whole ticks ([`delta::operator::Operator`]), and one file
//! knows about capabilities and frontiers. Hot operators keep their own state:
//!
//! - Groups, distinct rows and join keys are numbered densely by DataFusion's `GroupValues`
//!   ([`delta::keys`]). Compared with hash tables of our own this brings the batch engine's equality
//!   (null, NaN) and its vectorised code for each type; state is then plain vectors by number. It cannot forget a
//!   single key, so state is rebuilt once half of it is dead.
//! - A join keeps the rows of each side in segments of 8,192 and chains them by key number. Sides that
//!   only grow are never looked up by value. Outer, semi, anti and mark joins count matches by row.
//! - Inner joins by one key, one after the other, are one operator over the rows of all inputs
//!   ([`delta::join::multi`]): what changes in one of them is looked up in the others, and no pairs are kept.
//! - Aggregates are evaluated before and after a tick's changes to the groups it touches, instead of
//!   keeping what was sent: all of them are functions of the multiset of their input alone. Those that have no
//!   incremental form keep this multiset, sorted, and are called anew over it.
//! - What depends on the order of rows keeps them in it, as bytes that compare as rows do ([`delta::order`]), the rows of
//!   all partitions in one tree. First rows ([`delta::top_k`]) are gone through up to the limit; window functions
//!   ([`delta::partition`]) are computed before and after a tick's changes for the partitions that it touches. Detectors
//!   keep up with single rows ([`delta::series`]), and a series has its rows in blocks of its own.
//! - A recursion takes its rounds one after the other within a tick, so that time stays totally ordered, and the round
//!   is a column of its rows: operators in a loop are those outside, with one state for all rounds
//!   ([`delta::recursion`]).
//!
//! A view's result is an arrangement of differential dataflow made of sorted Arrow chunks
//! ([`delta::chunk`]), each worker what it has: readers take its chunks as a table, later views
//! import it, subscriptions are its batches. Errors (a division by zero, a cast that does not fit)
//! are a second collection: a view with one has no answer until its row is gone.
//!
//! A node with state that a running dataflow computes already, by the same steps over the same relations
//! ([`delta::equal`]), is not built again: its operator hands each whole tick to all dataflows that read it
//! ([`delta::outlet`]), after the rows that its state tells. That is done only where a new operator, filled from what
//! is stored, would have the same state, so that sharing never shows in an answer; what is shared shows in
//! `operator_stats` and in EXPLAIN DATAFLOW. A dataflow whose view is dropped lives on while others read from it, without
//! the operators that nobody needs.
//!
//! # Detectors
//!
//! Detectors are pure functions in [`detect`], over the values of a series in their order or over the multiset of some
//! rows, and functions of SQL in [`sql::detectors`]: window functions, aggregates and scalars that batch queries and views
//! share, so that late and retracted rows lead to what would be had they come in time. Of a window function there is one form,
//! a state that rows are edited into ([`delta::series`]): a batch query edits all of them into a new one, and a view keeps
//! one for each series, asks it which rows a tick affects, and sends those whose results are different. A model
//! ([`sql::model`]) is a view of its versions, each an aggregate over a window that has ended; a score is a join with it.
//!
//! # Tables
//!
//! A table that a user creates is a relation like the others. One that is append-only is a stream: its oldest rows go
//! when it has reached its limit, and views over it keep what they made of them. Of an ordinary one all rows are kept,
//! as an arrangement on the workers that views import. INSERT, UPDATE and DELETE are evaluated as batch queries
//! ([`sql::write`]) to rows that go and rows that come; the thread that owns the database checks their keys and makes
//! them all, or none, at the open tick. A writer is answered once a tick that holds its rows is closed, so that every
//! query sees them; many writers share a tick. A transaction ([`engine::Transaction`]) keeps its rows to itself until
//! it commits, and fails if others have changed the same table since. Tables live in memory; with a
//! journal a restart brings them back, and without one it empties them.
//!
//! # Durability
//!
//! With `data.dir` a [`journal`] holds what happened to the database, in the order in which it did: requests of telemetry,
//! definitions, rows that writes put in and took out (as evaluated: `random()` is not drawn again), and the ticks that
//! were closed. One thread writes it, and syncs once for all who wait. A request is taken in when it is durable, and
//! acknowledged then; a tick is closed and published when that is durable. Neither waits for the other: while the record that
//! closes a tick is written the workers get what is durable before it, and while they close the tick the journal gets what is
//! of the next, which they are given once it is published. So what anybody has seen is there after a crash,
//! and what was acknowledged as well: played again into an empty database ([`engine::Recovered`]) the same requests make the
//! same ticks, and views are functions of these. A definition is carried out again.
//!
//! Sources and sinks ([`engine::Connectors`]) are definitions to the engine; [`connect`] runs them. What a source read is
//! accepted together with the position behind it ([`engine::Position`]), which names the position before as well: what comes
//! behind something that was not taken is not taken either, live and when the journal is played again. The changes of a
//! sink's view wait in its [`engine::Outbox`] until they have arrived. The journal has each tick as it was closed, so that
//! they are there again at the same ticks after a crash, and, a tick late, how far a sink was; how far it really was says
//! what it writes to. Of Kafka the tick is the position of a consumer group that is called as the sink's transactional id,
//! committed in the transaction with the messages: no topic of progress has to be made, read to its end, or compacted, and if
//! the broker forgets it after days without changes, the journal has known it for as long. The stream clock waits for
//! partitions that are behind, for a while also for those that cannot be reached; the first of them to answer does not end
//! the windows of the others.
//!
//! # History
//!
//! With `data.dir` the rows of streams go to disk in columns too ([`history`]): all of them can be queried, and fill the views
//! that are created later, though memory holds `engine.stored_bytes_max` of them. A row has a number: as which row of its
//! stream it came. So the journal and the files need not know of each other: when the journal is played again, the rows below
//! the end of the files are there already. Once a segment of the journal has ended and all rows that it holds are in files,
//! its records are rewritten ([`journal::Rewriter`]) to say how many rows came instead of which: played again these are
//! taken from the files, in the order in which they came, so that the ticks stay what they were. What is left of the journal
//! grows by some hundred bytes for each request and each tick, and by what statements put into tables.
//!
//! The form of the files (rows sorted by service, name and time; times and numbers as differences; ids without a dictionary
//! where nearly each is another; zstd) makes 12.3 to 1 of the OTLP JSON of the trainticket day (`cargo bench --bench history`);
//! others were not compared.
//!
//! # Checkpoints
//!
//! Once in a while the state of all dataflows at the end of a tick is written ([`checkpoint`]): what groups and filters on
//! `now()` hold, and the rows of each view. A restart creates every view that it was of with what it had
//! ([`delta::resume`]), and plays the journal all the same: what comes up to the tick of the checkpoint is in those states
//! already and is passed over, what comes after it changes them. Joins and DISTINCT are not saved. They have their rows
//! again once those of the last horizon have come ([`delta::plan::Plan::reach`]), so only these are read from history; what
//! stands above a group has its rows from what that group tells at once. So no more is written than what a view is made
//! of, the ticks and the sinks stay what they are, and the number of workers may be another. A view with an operator that holds all
//! rows of a stream (first rows, window functions or joins without a horizon right over it) is no part of it, and is computed anew.
//!
//! That is what lets rows of streams go ([`engine`]'s retention): views keep what they made of them, as the input of a view
//! is what came and not what is kept of it. Rows are taken out of sight with a checkpoint, which the journal notes, and their
//! files go once it is in its place; before, a crash goes back to the checkpoint before, and finds them. Retractions in
//! their stead would have doubled the work of all views, and behind a horizon a join cannot follow them: a view would not
//! have been the same after a restart.
//!
//! # Limits
//!
//! Each has a name: [`engine::WORKERS_MAX`], `VIEWS_MAX` (1,000), [`engine::TABLES_MAX`], [`sql::table::COLUMNS_MAX`],
//! [`sql::write::WRITE_ROWS_MAX`], [`sql::write::WRITE_BYTES_MAX`], [`ingest::BATCH_ROWS_MAX`],
//! [`ingest::LINE_BYTES_MAX`], [`ingest::FILES_MAX`], the fields of [`telemetry::Limits`],
//! [`engine::SOURCES_MAX`], [`engine::OPEN_ROWS_MAX`], [`engine::CONNECTORS_MAX`], [`engine::WAITING_ROWS_MAX`],
//! [`history::FILE_ROWS_MAX`], [`history::JOBS_MAX`], and for a server the settings of [`config`]; a side of a join holds 2^32 - 1
//! rows on a worker, a recursion [`delta::recursion::ROWS_MAX`] in [`delta::recursion::ROUNDS_MAX`] rounds.

pub mod built_in;
pub mod checkpoint;
pub mod command;
pub mod config;
pub mod connect;
pub mod delta;
pub mod detect;
pub mod engine;
pub mod fault;
pub mod history;
pub mod ingest;
pub mod journal;
pub mod observe;
pub mod serve;
pub mod simulate;
pub mod sql;
pub mod telemetry;
