//! From topic to topic exactly once, however often the network fails between the engine and the broker.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::broker::Broker;
use super::pipeline::{When, prepare, times, wait_for_events, wait_for_messages, with_events};
use super::proxy::Network;

/// What the network does one after the other, and whether the engine is killed meanwhile.
const FAULTS: [(&[Network], bool); 7] = [
    (&[Network::IsCut], false),
    (&[Network::Stalls], false),
    // What the engine had sent before its end arrives when the next one is there.
    (&[Network::Stalls], true),
    (&[Network::IsCut], true),
    // What was under way is lost after all, and it is not known what of it has arrived.
    (&[Network::Stalls, Network::IsCut], false),
    (&[Network::IsSlow, Network::Stalls, Network::IsSlow, Network::IsCut], true),
    (&[Network::IsSlow], true),
];

#[test]
fn exactly_once_from_topic_to_topic_however_often_the_network_fails() {
    let Some((broker, proxy)) = Broker::start_with_proxy() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let random = &mut StdRng::seed_from_u64(7);
    let faults = times("UNDERCURRENT_NETWORK_FAULTS", FAULTS.len());
    // Else a clock that goes on without what cannot be read would go nowhere.
    let pipeline = prepare(&broker, proxy.address(), "network").with_events_of(When::Now);
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    let events = with_events(&pipeline, |written| {
        let mut server = pipeline.start(folder.path(), None).expect("a server");
        pipeline.define(&server);
        for round in 0..faults {
            wait_for_messages(&server, random.random_range(1..1500));
            let (phases, is_killed) = FAULTS[round % FAULTS.len()];
            // By hand, each of them now and then for longer than the engine waits for an answer, and the clock for events.
            let is_long = round >= FAULTS.len() && round % 3 == 2;
            let events = if is_long { 12_500..40_000 } else { 20..1500 };
            let mut kill_in = is_killed.then(|| random.random_range(0..phases.len()));
            for (phase, network) in phases.iter().enumerate() {
                proxy.tell(*network);
                wait_for_events(written, random.random_range(events.clone()) / phases.len() as u64);
                if kill_in.take_if(|kill_in| *kill_in == phase).is_some() {
                    server.stop("KILL");
                    server = pipeline.start(folder.path(), None).expect("a server");
                    wait_for_events(written, random.random_range(events.clone()));
                }
            }
            proxy.tell(Network::Passes);
            let killed = if is_killed { ", killed" } else { "" };
            *done.entry(format!("{phases:?}{killed}")).or_default() += 1;
        }
        server
    });
    println!("{faults} times the network failed: {done:?}; {events}");
}
