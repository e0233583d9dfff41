//! Recorded telemetry played into a database.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::arguments::InputArguments;
use super::{CommandError, Outcome};
use crate::built_in;
use crate::delta::plan::Node;
use crate::engine::{BuiltIns, Database, Engine};
use crate::ingest::{Replay, ReplayOptions, Step};
use crate::telemetry::Table;

/// Portions read ahead of the engine.
const READ_AHEAD: usize = 4;

/// Reports on reading, bytes of the files on disk.
struct Read {
    step: Step,
    bytes: u64,
}

/// The database of a replay, without data yet.
pub(super) fn database(arguments: &InputArguments) -> Result<Database, CommandError> {
    let views = views(!arguments.no_built_in_views, &arguments.queries)?;
    let engine = Engine::start(arguments.workers.get())?;
    Ok(Database::new(engine, views, arguments.horizon))
}

/// The views that come with the engine, where they are wanted, and those of `folders`.
pub(super) fn views(with_built_in: bool, folders: &[PathBuf]) -> Result<BuiltIns, CommandError> {
    let mut views = if with_built_in { built_in::views()? } else { BuiltIns::default() };
    for folder in folders {
        for path in sql_files(folder)? {
            let text =
                std::fs::read_to_string(&path).map_err(|source| CommandError::Read { path, source })?;
            views.add(&text)?;
        }
    }
    Ok(views)
}

/// The `.sql` files of `folder`, in name order.
fn sql_files(folder: &Path) -> Result<Vec<PathBuf>, CommandError> {
    let read = |source| CommandError::Read { path: folder.to_owned(), source };
    let mut files = vec![];
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path.extension().is_some_and(|e| e == "sql") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Plays all of the input into `database`; `each_tick` is called after each closed tick. Rows of the
/// stream tables in `stored` are kept for queries.
pub(super) fn play(
    arguments: &InputArguments,
    database: &mut Database,
    stored: &BTreeSet<Table>,
    mut each_tick: impl FnMut(&mut Database) -> Result<(), CommandError>,
) -> Result<Outcome, CommandError> {
    let mut options = ReplayOptions::at(now_ns());
    options.batch_rows = arguments.batch_rows;
    options.columns = Some(columns_read(database, stored));
    let replay = Replay::open(&arguments.paths, options)?;
    database.engine.store_only(&stored.iter().copied().collect::<Vec<_>>());
    let progress = progress_bar(arguments, replay.bytes_total());
    let mut pace = arguments.speed.map(Pace::new);
    let (sender, receiver) = std::sync::mpsc::sync_channel(READ_AHEAD);
    let reader = std::thread::Builder::new()
        .name("replay".to_owned())
        .spawn(move || read(replay, &sender))
        .map_err(|source| CommandError::System { action: "start a thread", source })?;
    let mut clock_ms = 0;
    let mut rejected = 0;
    for Read { step, bytes } in receiver {
        progress.set_position(bytes);
        let is_due = pace.as_mut().is_some_and(|pace| pace.wait(step.clock_ns));
        clock_ms = step.clock_ns.map_or(clock_ms, |ns| (ns / 1_000_000).max(0) as u64);
        database.engine.advance(clock_ms);
        for batch in &step.batches {
            rejected += if batch.table == Table::IngestErrors { batch.rows.num_rows() } else { 0 };
            database.engine.append(batch)?;
        }
        if is_due || database.engine.open_rows() >= arguments.tick_rows {
            database.engine.close(clock_ms)?;
            each_tick(database)?;
        }
    }
    if reader.join().is_err() {
        let source = std::io::Error::other("the reading thread stopped; see its panic above");
        return Err(CommandError::System { action: "read all of the input", source });
    }
    database.engine.close(clock_ms)?;
    each_tick(database)?;
    progress.finish_and_clear();
    if rejected == 0 {
        return Ok(Outcome::Complete);
    }
    if !arguments.quiet {
        eprintln!(
            "note: {rejected} records or lines were rejected: SELECT kind, reason, count(*) FROM ingest_errors GROUP BY 1, 2"
        );
    }
    Ok(Outcome::SomeRejected)
}

fn read(mut replay: Replay, sender: &std::sync::mpsc::SyncSender<Read>) {
    while let Some(step) = replay.next() {
        if sender.send(Read { step, bytes: replay.bytes_read() }).is_err() {
            return;
        }
    }
}

/// The columns of each stream table that views or queries read, for formats that can skip the others.
fn columns_read(database: &Database, stored: &BTreeSet<Table>) -> BTreeMap<Table, Vec<String>> {
    let mut columns: BTreeMap<Table, BTreeSet<usize>> = BTreeMap::new();
    for table in Table::all() {
        let all = table.schema().fields().len();
        let read = columns.entry(table).or_default();
        if stored.contains(&table) {
            read.extend(0..all);
        }
        for view in database.engine.views().values() {
            for node in &view.plan.nodes {
                match node {
                    Node::Source { relation, columns } if relation == table.name() => read.extend(columns),
                    _ => {}
                }
            }
        }
    }
    let name = |table: Table, index: usize| table.schema().field(index).name().clone();
    columns.into_iter().map(|(t, read)| (t, read.into_iter().map(|i| name(t, i)).collect())).collect()
}

fn progress_bar(arguments: &InputArguments, total: u64) -> ProgressBar {
    let is_shown = !arguments.quiet && std::io::stderr().is_terminal();
    let target = if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    match ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Holds a replay back to a multiple of the speed at which events happened.
struct Pace {
    speed: f64,
    /// When it began, and the event time then.
    begin: Option<(Instant, i64)>,
    last_tick: Instant,
}

/// How often a paced replay closes a tick.
const PACED_TICK: Duration = Duration::from_secs(1);

impl Pace {
    fn new(speed: f64) -> Self {
        Pace { speed, begin: None, last_tick: Instant::now() }
    }

    /// Waits until `clock_ns` is due; whether a tick is.
    fn wait(&mut self, clock_ns: Option<i64>) -> bool {
        if let Some(clock_ns) = clock_ns {
            let (begin, first_ns) = *self.begin.get_or_insert_with(|| (Instant::now(), clock_ns));
            let elapsed = Duration::from_nanos((clock_ns - first_ns).max(0) as u64).div_f64(self.speed);
            std::thread::sleep((begin + elapsed).saturating_duration_since(Instant::now()));
        }
        let is_due = self.last_tick.elapsed() >= PACED_TICK;
        if is_due {
            self.last_tick = Instant::now();
        }
        is_due
    }
}

/// The wall clock, in nanoseconds since the Unix epoch.
fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64)
}
