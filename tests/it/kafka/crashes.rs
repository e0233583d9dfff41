//! From topic to topic exactly once, however often the engine or the broker is killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use undercurrent::fault;

use super::broker::Broker;
use super::pipeline::{prepare, times, wait_for_messages, with_events};
use crate::server::eventually;

/// So long that a broker loses its partitions for a while.
const PAUSE: Duration = Duration::from_secs(3);

#[test]
fn exactly_once_from_topic_to_topic_however_often_the_engine_is_killed() {
    let Some(broker) = Broker::shared() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    // No table is dropped here, and no rows are too old.
    let is_passed =
        |place: &&str| !["history.emptying", "history.trimming", "engine.trimmed"].contains(place);
    let places: Vec<&str> = fault::POINTS.into_iter().filter(is_passed).collect();
    let kills = times("UNDERCURRENT_KILLS", 2 * places.len());
    let random = &mut StdRng::seed_from_u64(5);
    let pipeline = prepare(broker, broker.address(), "kills");
    let mut by_place: BTreeMap<&str, usize> = BTreeMap::new();
    let begin = Instant::now();
    let events = with_events(&pipeline, |_| {
        pipeline.define(&pipeline.start(folder.path(), None).expect("a server"));
        for round in 0..kills {
            let place = (round % 2 == 0).then(|| places[round / 2 % places.len()]);
            // Files and segments are full now and then only, and so is it time for a checkpoint.
            let is_rare = |place: &str| {
                ["history", "journal.short", "checkpoint"].iter().any(|rare| place.starts_with(rare))
            };
            let crash_at = place.map(|place| {
                format!("{place}:{}", random.random_range(1..if is_rare(place) { 4 } else { 30 }))
            });
            let Some(mut server) = pipeline.start(folder.path(), crash_at.as_deref()) else {
                *by_place.entry(place.expect("it was not told to end")).or_default() += 1;
                continue;
            };
            match place {
                // No consumer group, no commits to it: it is killed after a while as the others are.
                Some(place) if place != "source.committed" => {
                    eventually(|| server.has_ended(), |has_ended| *has_ended);
                    *by_place.entry(place).or_default() += 1;
                }
                _ => {
                    wait_for_messages(&server, random.random_range(0..1500));
                    server.stop("KILL");
                    *by_place.entry("anywhere").or_default() += 1;
                }
            }
        }
        pipeline.start(folder.path(), None).expect("a server")
    });
    println!("{kills} kills in {:.0} s: {by_place:?}; {events}", begin.elapsed().as_secs_f64());
}

#[test]
fn exactly_once_from_topic_to_topic_however_often_the_broker_is_killed() {
    let Some(broker) = Broker::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let random = &mut StdRng::seed_from_u64(6);
    let faults = times("UNDERCURRENT_BROKER_FAULTS", 3);
    let pipeline = prepare(&broker, broker.address(), "faults");
    let begin = Instant::now();
    let events = with_events(&pipeline, |_| {
        let server = pipeline.start(folder.path(), None).expect("a server");
        pipeline.define(&server);
        for round in 0..faults {
            wait_for_messages(&server, random.random_range(100..1500));
            if round % 3 == 2 {
                broker.pause(PAUSE);
            } else {
                broker.kill();
                broker.restart();
            }
        }
        server
    });
    println!(
        "{faults} times the broker was killed or paused in {:.0} s; {events}",
        begin.elapsed().as_secs_f64()
    );
}
