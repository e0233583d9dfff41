//! The central promise under random queries and random data: at every closed tick a view equals what
//! its query returns as a batch.
//!
//! `UNDERCURRENT_QUERIES=5000` runs more of them, `UNDERCURRENT_SEED=17` one case alone, with its
//! statements and rows printed.

mod case;
mod data;
mod expression;
mod query;
mod subquery;
mod window;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::case::{Case, Event, Tally};
use self::query::Generator;

/// Views in a suite run.
const QUERIES: usize = 300;

/// The share of refused queries above which the generator tests too little, in percent.
const REFUSED_PERCENT_MAX: usize = 10;

/// A random life of a database: views, rows and ticks mixed.
fn case(seed: u64) -> Case {
    let mut random = StdRng::seed_from_u64(seed);
    let workers = random.random_range(1..=3);
    let mut views = vec![];
    let mut generator = Generator::new(&mut random);
    for number in 0..generator.random.random_range(1..=4) {
        let name = format!("v{number}");
        let query = generator.view(&name);
        views.push(Event::Create(name, query));
    }
    views.reverse();
    let mut events = vec![];
    let mut clock_ms = 0;
    let ticks = random.random_range(2..=6);
    for tick in 0..ticks {
        while !views.is_empty() && (tick == ticks / 2 || random.random_ratio(3, 4)) {
            events.extend(views.pop());
        }
        for _ in 0..random.random_range(0..=4) {
            let table = data::TABLES[random.random_range(0..data::TABLES.len())];
            let rows = (0..random.random_range(1..=8)).map(|_| data::row(&mut random, table)).collect();
            events.push(Event::Append(table, rows));
            if random.random_ratio(1, 6) {
                // Delivered twice.
                events.extend(events.last().cloned());
            }
        }
        clock_ms += [1, 500, 1000, 7_000, 30_000][random.random_range(0..5)];
        events.push(Event::Close(clock_ms));
    }
    // The clock passes everything: what is current for a time is no more.
    events.push(Event::Close(clock_ms + 200_000));
    Case { workers, events }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{variable}={text}: {e}")))
}

#[test]
fn views_equal_batch_queries() {
    let one = number("UNDERCURRENT_SEED");
    let queries = number("UNDERCURRENT_QUERIES").map_or(QUERIES, |n| n as usize);
    let mut tally = Tally::default();
    let mut failures = vec![];
    let mut seed = one.unwrap_or(0);
    while tally.views + tally.refused < queries && failures.len() < 8 {
        let case = case(seed);
        if one.is_some() {
            println!("{case}");
        }
        if case.run(&mut tally).is_err() {
            let small = case.shrink();
            let mismatch = small.run(&mut Tally::default()).expect_err("a case that fails");
            failures.push(format!("seed {seed}, smallest case:\n{small}{mismatch}\n"));
        }
        if one.is_some() {
            break;
        }
        seed += 1;
    }
    println!(
        "{} views, {} refused; {} comparisons, {} with rows, {} with errors",
        tally.views, tally.refused, tally.compared, tally.with_rows, tally.errors
    );
    tally.refusals.iter().take(20).for_each(|refusal| println!("refused: {refusal}"));
    assert!(failures.is_empty(), "{} cases failed:\n\n{}", failures.len(), failures.join("\n"));
    assert!(
        tally.refused * 100 <= REFUSED_PERCENT_MAX * (tally.views + tally.refused),
        "too many are refused"
    );
    assert!(one.is_some() || tally.with_rows * 3 > tally.compared, "most views are empty");
}
