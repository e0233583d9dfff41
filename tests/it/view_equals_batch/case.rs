//! A test case, what running it means, and how one that fails is made smaller.

use std::fmt;

use serde_json::Value;
use undercurrent::sql::error::SqlError;
use undercurrent::telemetry::Table;

use crate::support::{Rows, Server};

type Answer = Result<Rows, SqlError>;

/// What happens to a database, step by step.
#[derive(Clone, Debug)]
pub enum Event {
    /// Creates the view `name`, of this query.
    Create(String, String),
    /// Drops the view `name`, unless others read it.
    Drop(String),
    /// Rows for the open tick, in one batch.
    Append(Table, Vec<Value>),
    /// A statement about a user's table. One that is refused, for the row that it would make, changes nothing.
    Statement(String),
    /// Closes the open tick; then every view is compared.
    Close(u64),
}

/// A database's life.
#[derive(Clone, Debug)]
pub struct Case {
    pub workers: usize,
    pub events: Vec<Event>,
}

/// What a run of cases amounted to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub views: usize,
    pub refused: usize,
    /// Reasons of refusals, for a look at what is left out.
    pub refusals: Vec<String>,
    /// Comparisons made.
    pub compared: usize,
    /// Those in which both sides had rows.
    pub with_rows: usize,
    /// Those in which a side gave an error, for a row that cannot be computed.
    pub errors: usize,
    /// Operators of views that other views used too.
    pub shared: usize,
    /// Statements about tables, and those of them that were carried out.
    pub statements: usize,
    pub carried_out: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { views, refused, shared, compared, with_rows, errors, statements, carried_out, .. } = self;
        write!(
            f,
            "{views} views, {refused} refused, {shared} operators shared; {compared} comparisons, {with_rows} with rows, "
        )?;
        write!(f, "{errors} with errors; {carried_out} of {statements} statements carried out")
    }
}

/// What computing a row can fail with.
const ROW_ERRORS: [&str; 6] =
    ["Divide by zero", "Cast error", "Overflow", "overflow", "too small to store", "too large to store"];

/// What a subquery used as a value fails with.
const SEVERAL_ROWS: &str = "more than one row";

/// A view that is not its query.
#[derive(Clone, Debug)]
pub struct Mismatch {
    pub name: String,
    pub query: String,
    pub tick: u64,
    pub view: String,
    pub batch: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { name, query, tick, view, batch } = self;
        write!(
            f,
            "at tick {tick}, view {name} AS\n{query}\n--- the view\n{view}\n--- the batch query\n{batch}"
        )
    }
}

impl Case {
    /// Lives it, comparing all views at each closed tick.
    pub fn run(&self, tally: &mut Tally) -> Result<(), Box<Mismatch>> {
        let mut server = Server::new(self.workers);
        let mut views: Vec<(&str, &str)> = vec![];
        for event in &self.events {
            match event {
                Event::Create(name, query) => {
                    match server.answer(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")) {
                        Ok(_) => {
                            tally.views += 1;
                            views.push((name, query));
                        }
                        // It reads a view that was refused itself.
                        Err(SqlError::Missing { .. }) => {}
                        Err(error) => {
                            tally.refused += 1;
                            tally.refusals.push(format!("{error}\n    {query}"));
                        }
                    }
                }
                Event::Drop(name) => match server.answer(&format!("DROP MATERIALIZED VIEW {name}")) {
                    Ok(_) => views.retain(|(view, _)| view != name),
                    // Others read it, or it was refused.
                    Err(SqlError::HasReaders { .. } | SqlError::Missing { .. }) => {}
                    Err(error) => panic!("{name} is not dropped: {error}"),
                },
                Event::Append(table, rows) => {
                    server.append(*table, rows);
                    continue;
                }
                Event::Statement(sql) => {
                    tally.statements += 1;
                    tally.carried_out += server.answer(sql).is_ok() as usize;
                    continue;
                }
                Event::Close(clock_ms) => drop(server.close(*clock_ms)),
            }
            for (name, query) in &views {
                compare(&mut server, name, query, tally)?;
            }
        }
        let shared = server.query("SELECT count(shared_with) FROM operator_stats").expect("figures");
        tally.shared += shared.rows[0][0].parse::<usize>().expect("a number");
        for (name, query) in &views {
            share(&mut server, name, query)?;
        }
        hydrate(&mut server, &views)
    }

    /// A case that fails too, with fewer rows and events.
    pub fn shrink(&self) -> Case {
        let fails = |case: &Case| case.run(&mut Tally::default()).is_err();
        let mut smallest = self.clone();
        let one_worker = Case { workers: 1, ..self.clone() };
        if fails(&one_worker) {
            smallest = one_worker;
        }
        loop {
            let smaller = smallest.smaller().into_iter().find(fails);
            match smaller {
                Some(case) => smallest = case,
                None => return smallest,
            }
        }
    }

    /// The case and the answer that its batch query gave, as a file for `tests/slt`. Ticks are those of the file's
    /// runner: what happens within one of them here may happen in several there.
    pub fn slt(&self, mismatch: &Mismatch) -> String {
        let mut text = String::new();
        for event in &self.events {
            text += &match event {
                Event::Create(name, query) => {
                    format!("statement ok\nCREATE MATERIALIZED VIEW {name} AS {}\n\n", one_line(query))
                }
                Event::Append(table, rows) => {
                    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
                    format!("statement ok\nINSERT INTO {}\n{rows}\n", table.name())
                }
                Event::Statement(sql) => format!("statement ok\n{sql}\n\n"),
                Event::Drop(name) => format!("statement ok\nDROP MATERIALIZED VIEW {name}\n\n"),
                Event::Close(clock_ms) => format!("statement ok\nCLOSE {clock_ms}\n\n"),
            };
        }
        let (columns, rows) = mismatch.batch.split_once('\n').unwrap_or((&mismatch.batch, ""));
        let types = "T".repeat(columns.split(" | ").count());
        let rows = rows.replace(" | ", " ");
        text + &format!("query {types} rowsort\n{}\n----\n{rows}\n", one_line(&mismatch.query))
    }

    /// Cases with an event or a row less.
    fn smaller(&self) -> Vec<Case> {
        let mut cases = vec![];
        for index in (0..self.events.len()).rev() {
            let mut case = self.clone();
            case.events.remove(index);
            cases.push(case);
        }
        for (index, event) in self.events.iter().enumerate() {
            let Event::Append(table, rows) = event else { continue };
            for row in 0..if rows.len() > 1 { rows.len() } else { 0 } {
                let mut fewer = rows.clone();
                fewer.remove(row);
                let mut case = self.clone();
                case.events[index] = Event::Append(*table, fewer);
                cases.push(case);
            }
        }
        cases
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} workers", self.workers)?;
        for event in &self.events {
            match event {
                Event::Create(name, query) => writeln!(f, "CREATE MATERIALIZED VIEW {name} AS {query}")?,
                Event::Drop(name) => writeln!(f, "DROP MATERIALIZED VIEW {name}")?,
                Event::Statement(sql) => writeln!(f, "{sql}")?,
                Event::Close(clock_ms) => writeln!(f, "CLOSE {clock_ms}")?,
                Event::Append(table, rows) => {
                    writeln!(f, "INSERT INTO {}", table.name())?;
                    rows.iter().try_for_each(|row| writeln!(f, "{row}"))?;
                }
            }
        }
        Ok(())
    }
}

fn one_line(query: &str) -> String {
    query.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Compares the view `name` with its query.
fn compare(server: &mut Server, name: &str, query: &str, tally: &mut Tally) -> Result<(), Box<Mismatch>> {
    let view = server.query(&format!("SELECT * FROM {name}"));
    let batch = server.query(query);
    tally.compared += 1;
    let is_row_error = |answer: &Answer| match answer {
        Ok(_) => false,
        Err(error) => ROW_ERRORS.iter().any(|text| error.to_string().contains(text)),
    };
    // Whether a row is computed that later falls out of the result is not SQL's to say: only one of
    // the two may fail then.
    // So is whether a recursive term without rows computes the subqueries in it.
    let is_unasked = query.starts_with("WITH RECURSIVE")
        && batch.is_ok()
        && view.as_ref().is_err_and(|error| error.to_string().contains(SEVERAL_ROWS));
    if is_row_error(&view) || is_row_error(&batch) || is_unasked {
        tally.errors += 1;
        return Ok(());
    }
    tally.with_rows += view.as_ref().is_ok_and(|v| !v.rows.is_empty()) as usize;
    equal(server, [name, query], view, batch)
}

/// Compares the view `name` with one like it that is created now, and reads what it can from that.
fn share(server: &mut Server, name: &str, query: &str) -> Result<(), Box<Mismatch>> {
    server.run(&format!("CREATE MATERIALIZED VIEW shared AS {query}"));
    let view = server.query(&format!("SELECT * FROM {name}"));
    let shared = server.query("SELECT * FROM shared");
    server.run("DROP VIEW shared");
    match (&view, &shared) {
        (Err(_), Err(_)) => Ok(()),
        _ => equal(server, [name, query], view, shared),
    }
}

/// Compares `views` with what they are once all are dropped and created anew, from what is stored.
fn hydrate(server: &mut Server, views: &[(&str, &str)]) -> Result<(), Box<Mismatch>> {
    let answers: Vec<Answer> =
        views.iter().map(|(name, _)| server.query(&format!("SELECT * FROM {name}"))).collect();
    let names: Vec<&str> = views.iter().map(|(name, _)| *name).collect();
    if !names.is_empty() {
        server.run(&format!("DROP MATERIALIZED VIEW {}", names.join(", ")));
    }
    for (name, query) in views {
        server.run(&format!("CREATE MATERIALIZED VIEW {name} AS {query}"));
    }
    for ((name, query), answer) in views.iter().zip(answers) {
        let hydrated = server.query(&format!("SELECT * FROM {name}"));
        if answer.is_ok() || hydrated.is_ok() {
            equal(server, [name, query], answer, hydrated)?;
        }
    }
    Ok(())
}

fn equal(
    server: &Server,
    [name, query]: [&str; 2],
    view: Answer,
    other: Answer,
) -> Result<(), Box<Mismatch>> {
    let text = |answer: &Answer| match answer {
        Ok(rows) => format!("{}\n{}", rows.columns.join(" | "), rows.sorted().join("\n")),
        Err(error) => format!("error: {error}"),
    };
    let is_equal = match (&view, &other) {
        (Ok(view), Ok(other)) => view.columns == other.columns && view.sorted() == other.sorted(),
        // The one failure that is an answer: both must know of it.
        (Err(view), Err(other)) => [view, other].iter().all(|e| e.to_string().contains(SEVERAL_ROWS)),
        _ => false,
    };
    if is_equal {
        return Ok(());
    }
    let tick = server.database.engine.closed();
    let (view, batch) = (text(&view), text(&other));
    Err(Box::new(Mismatch { name: name.to_owned(), query: query.to_owned(), tick, view, batch }))
}
