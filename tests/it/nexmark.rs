//! Nexmark: every query as a view, which at every tick equals the same SELECT as a batch query.

#[path = "../../benches/nexmark/events.rs"]
mod events;
#[path = "../../benches/nexmark/queries.rs"]
mod queries;

use nexmark::event::Event;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::oracle::{compare, maintain};
use crate::support::Server;

/// Half a minute of events.
const EVENTS: usize = 3_000;
const EVENTS_PER_SECOND: usize = 100;

/// Events come among so many that are next to them in time.
const DISORDER_EVENTS: usize = 120;

/// Events in an order close to that of their times, in portions of random sizes.
fn portions(random: &mut StdRng) -> Vec<Vec<Event>> {
    let mut events: Vec<Event> = events::events(EVENTS_PER_SECOND).take(EVENTS).collect();
    events.chunks_mut(DISORDER_EVENTS).for_each(|part| part.shuffle(random));
    let mut portions = vec![];
    while !events.is_empty() {
        let len = random.random_range(1..=EVENTS / 4).min(events.len());
        portions.push(events.drain(..len).collect());
    }
    portions
}

/// All queries over the same events, given in portions, several of which may make one tick.
fn run(workers: usize, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut server = Server::new(workers);
    for (name, columns) in events::TABLES {
        server.run(&format!("CREATE TABLE {name} ({columns}) WITH (append_only = true)"));
    }
    let texts = (0..queries::COUNT).map(|q| (format!("q{q}"), queries::text(q)));
    let mut views = maintain(&mut server, texts);
    let portions = portions(&mut random);
    let last = portions.len() - 1;
    for (index, portion) in portions.into_iter().enumerate() {
        let clock_ms = portion.iter().map(Event::timestamp).max().unwrap_or_default();
        for (table, rows) in events::batches(&portion) {
            server.insert(table, rows);
        }
        if index == last || random.random_ratio(2, 3) {
            server.close(clock_ms);
            let when = format!("with {workers} workers, seed {seed}, after portion {index}");
            compare(&mut server, &mut views, &when);
        }
    }
    let empty: Vec<&str> = views.iter().filter(|v| !v.has_values).map(|v| v.name.as_str()).collect();
    assert!(empty.is_empty(), "queries that never had a row: {empty:?}");
}

#[test]
fn all_queries_equal_batch_with_one_worker() {
    run(1, 0);
}

#[test]
fn all_queries_equal_batch_with_several_workers() {
    run(3, 1);
}
