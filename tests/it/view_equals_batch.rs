//! The central promise under random queries and random data: at every closed tick a view equals what
//! its query returns as a batch.
//!
//! `UNDERCURRENT_QUERIES=5000` runs more of them, `UNDERCURRENT_FUZZ_MINUTES=60` as many as time allows,
//! `UNDERCURRENT_FIRST_SEED=100000` others; `UNDERCURRENT_SEED=17` runs one case alone, with its statements and rows
//! printed. A case that fails is made as small as it gets, and written as a file for `tests/slt`.

mod case;
mod data;
mod expression;
mod query;
mod schema;
mod subquery;
mod window;

use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use self::case::{Case, Event, Mismatch, Tally};
use self::query::Generator;
use self::schema::UserTable;

/// Views in a suite run.
const QUERIES: usize = 300;

/// The share of refused queries above which the generator tests too little, in percent.
const REFUSED_PERCENT_MAX: usize = 10;

/// After so many failures a run ends.
const FAILURES_MAX: usize = 8;

/// What a case is drawn from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tables {
    /// The stream tables of telemetry.
    Streams,
    /// Tables of users, of random columns, whose rows come, change and go.
    Random,
}

/// A random life of a database: views, rows and ticks mixed.
fn case(seed: u64, tables: Tables) -> Case {
    let mut random = StdRng::seed_from_u64(seed);
    let workers = random.random_range(1..=3);
    let user_tables = if tables == Tables::Random { schema::tables(&mut random) } else { vec![] };
    let named = match tables {
        Tables::Streams => query::streams(),
        Tables::Random => user_tables.iter().map(|t| (t.name.clone(), t.columns())).collect(),
    };
    let mut views = vec![];
    let mut generator = Generator::new(&mut random, named);
    for number in 0..generator.random.random_range(1..=4) {
        let name = format!("v{number}");
        let query = generator.view(&name);
        // Others that compute the same, or the same and something more: they come and go on their own.
        let mut others = vec![];
        for (other, text) in [
            (format!("same{number}"), query.clone()),
            (format!("more{number}"), format!("SELECT count(*) AS n FROM ({query}) AS q")),
        ] {
            if generator.random.random_ratio(1, 4) {
                others.push(Event::Create(other, text));
            }
        }
        views.push(Event::Create(name, query));
        views.extend(others);
    }
    views.reverse();
    let mut created: Vec<String> = vec![];
    let mut events: Vec<Event> = user_tables.iter().map(|t| Event::Statement(t.create())).collect();
    let mut clock_ms = 0;
    let ticks = random.random_range(2..=6);
    for tick in 0..ticks {
        while !views.is_empty() && (tick == ticks / 2 || random.random_ratio(3, 4)) {
            let Some(view) = views.pop() else { break };
            if let Event::Create(name, _) = &view {
                created.push(name.clone());
            }
            events.push(view);
        }
        if created.len() > 2 && random.random_ratio(1, 4) {
            events.push(Event::Drop(created.swap_remove(random.random_range(0..created.len()))));
        }
        for _ in 0..random.random_range(0..=4) {
            events.extend(rows(&mut random, &user_tables));
        }
        clock_ms += [1, 500, 1000, 7_000, 30_000][random.random_range(0..5)];
        events.push(Event::Close(clock_ms));
    }
    // The clock passes everything: what is current for a time is no more.
    events.push(Event::Close(clock_ms + 200_000));
    Case { workers, events }
}

/// Rows that come, or other changes where there are tables of users.
fn rows(random: &mut StdRng, user_tables: &[UserTable]) -> Vec<Event> {
    let event = match user_tables.choose(random) {
        Some(table) => Event::Statement(table.change(random)),
        None => {
            let table = data::TABLES[random.random_range(0..data::TABLES.len())];
            let rows = (0..random.random_range(1..=8)).map(|_| data::row(random, table)).collect();
            Event::Append(table, rows)
        }
    };
    // Delivered twice, at times.
    vec![event; if random.random_ratio(1, 6) { 2 } else { 1 }]
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{variable}={text}: {e}")))
}

/// Writes a failing case to a file, and says where.
fn write(seed: u64, case: &Case, mismatch: &Mismatch) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("view_equals_batch_{seed}.slt"));
    match std::fs::write(&path, case.slt(mismatch)) {
        Ok(()) => format!("{}", path.display()),
        Err(error) => format!("{}: {error}", path.display()),
    }
}

/// Draws cases until there are enough, or time is over.
fn run(tables: Tables) {
    let one = number("UNDERCURRENT_SEED");
    let queries = number("UNDERCURRENT_QUERIES").map_or(QUERIES, |n| n as usize);
    let deadline = number("UNDERCURRENT_FUZZ_MINUTES").map(|n| Instant::now() + Duration::from_secs(60 * n));
    let mut tally = Tally::default();
    let mut failures = vec![];
    let mut seed = one.unwrap_or_else(|| number("UNDERCURRENT_FIRST_SEED").unwrap_or(0));
    let is_over = |tally: &Tally| match deadline {
        Some(deadline) => Instant::now() >= deadline,
        None => tally.views + tally.refused >= queries,
    };
    while !is_over(&tally) && failures.len() < FAILURES_MAX {
        let case = case(seed, tables);
        if one.is_some() {
            println!("{case}");
        }
        if case.run(&mut tally).is_err() {
            let small = case.shrink();
            let mismatch = small.run(&mut Tally::default()).expect_err("a case that fails");
            let path = write(seed, &small, &mismatch);
            failures.push(format!("seed {seed}, smallest case, also in {path}:\n{small}{mismatch}\n"));
            println!("{}", failures[failures.len() - 1]);
        }
        if one.is_some() {
            break;
        }
        seed += 1;
    }
    println!("seeds up to {seed}: {tally}");
    tally.refusals.iter().take(20).for_each(|refusal| println!("refused: {refusal}"));
    assert!(failures.is_empty(), "{} cases failed:\n\n{}", failures.len(), failures.join("\n"));
    assert!(
        tally.refused * 100 <= REFUSED_PERCENT_MAX * (tally.views + tally.refused),
        "too many are refused"
    );
    assert!(one.is_some() || tally.shared > 0, "nothing is shared");
    assert!(one.is_some() || tally.with_rows * 3 > tally.compared, "most views are empty");
    assert!(tally.carried_out * 2 >= tally.statements, "most statements are refused");
}

#[test]
fn views_equal_batch_queries() {
    run(Tables::Streams);
}

#[test]
fn views_of_random_tables_equal_batch_queries() {
    run(Tables::Random);
}
