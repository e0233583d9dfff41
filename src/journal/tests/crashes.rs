//! What was acknowledged is what recovery returns, in order and once, whatever failed and whenever the power did.

use std::io::ErrorKind;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::memory::{Fault, Memory};
use super::{options, record, recover};
use crate::journal::Record;

const ROUNDS: u64 = 400;

/// Groups whose texts say where they come from.
fn some_groups(random: &mut StdRng, step: usize) -> Vec<Vec<Record>> {
    let sizes: Vec<usize> = (0..random.random_range(1..4)).map(|_| random.random_range(1..4)).collect();
    let text = |group: usize, place: usize| format!("{step}.{group}.{place}");
    sizes.iter().enumerate().map(|(g, n)| (0..*n).map(|place| record(&text(g, place))).collect()).collect()
}

fn some_faults(random: &mut StdRng) -> Vec<Fault> {
    let write = Fault::Write(random.random_range(0..120), ErrorKind::StorageFull);
    match random.random_range(0..12) {
        0 => vec![write],
        1 => vec![Fault::Sync],
        2 => vec![Fault::Create(ErrorKind::StorageFull)],
        3 => vec![Fault::SyncNames],
        4 => vec![write, Fault::Sync],
        _ => vec![],
    }
}

fn texts(groups: &[Vec<Record>]) -> Vec<String> {
    let text = |record: &Record| String::from_utf8_lossy(&record.bytes).into_owned();
    groups.iter().map(|group| group.iter().map(text).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn what_was_acknowledged_is_what_comes_back() {
    let (mut refused, mut crashes) = (0, 0);
    for seed in 0..ROUNDS {
        let mut random = StdRng::seed_from_u64(seed);
        let segment_bytes_max = random.random_range(1..400);
        let mut files = Memory::default();
        let (mut acknowledged, mut journal) = (vec![], None);
        for step in 0..random.random_range(1..40) {
            let mut open = match journal.take() {
                Some(open) => open,
                None => {
                    let recovered = recover(&files, options(segment_bytes_max));
                    let (found, _, open) = recovered.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                    assert_eq!(found, acknowledged, "seed {seed}, step {step}");
                    open
                }
            };
            let groups = some_groups(&mut random, step);
            some_faults(&mut random).into_iter().for_each(|fault| files.fail(fault));
            let slices: Vec<&[Record]> = groups.iter().map(Vec::as_slice).collect();
            let outcome = open.append(&slices);
            files.heal();
            match outcome {
                Ok(()) => acknowledged.extend(texts(&groups)),
                Err(_) => refused += 1,
            }
            match random.random_range(0..6) {
                0 => {
                    crashes += 1;
                    files = files.crashed(&mut random);
                }
                _ => journal = Some(open),
            }
        }
        let found = recover(&files, options(segment_bytes_max)).map(|(found, ..)| found);
        assert_eq!(found.unwrap_or_else(|error| panic!("seed {seed}: {error}")), acknowledged, "seed {seed}");
    }
    assert!(refused > 100 && crashes > 100, "{refused} appends were refused, {crashes} crashes");
}

#[test]
fn a_write_under_way_is_there_up_to_some_group() {
    let (mut whole, mut partial) = (0, 0);
    for seed in 0..ROUNDS {
        let mut random = StdRng::seed_from_u64(seed);
        let files = Memory::default();
        let (_, _, mut journal) = recover(&files, options(1 << 20)).expect("a journal");
        journal.append(&[&[record("before")]]).expect("an append");
        // The sync does not return: whether its records got to the disk nobody knows.
        files.fail(Fault::Sync);
        files.fail(Fault::Truncate);
        let groups = some_groups(&mut random, 0);
        let slices: Vec<&[Record]> = groups.iter().map(Vec::as_slice).collect();
        journal.append(&slices).expect_err("a sync that fails");
        let after = files.crashed(&mut random);
        let recovered = recover(&after, options(1 << 20));
        let (found, ..) = recovered.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let all = [vec!["before".to_owned()], texts(&groups)].concat();
        assert!(!found.is_empty());
        assert_eq!(found, all[..found.len()], "seed {seed}");
        if found.len() == all.len() { whole += 1 } else { partial += 1 }
    }
    assert!(whole > 0 && partial > 0);
}
