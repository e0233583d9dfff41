//! From topic to topic exactly once, however often there is no space for the journal.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::broker::Broker;
use super::disk::Disk;
use super::pipeline::{prepare, times, wait_for_events, wait_for_messages, with_events};
use super::rows;
use crate::in_process::{Got, curl};
use crate::server::{Server, eventually};

/// What the journal says of a disk that is full.
const REASON: &str = "free some space: nothing is taken until there is";

fn get(server: &Server, path: &str) -> Got {
    curl(&[&format!("http://{}{path}", server.address("http"))])
}

/// Waits until `server` says whether it can take anything in.
fn wait_for_ready(server: &Server, status: u16) {
    let ready = || {
        let got = get(server, "/ready");
        (got.status, got.text().to_owned())
    };
    eventually(ready, |(now, text)| *now == status && (status == 200 || text.contains(REASON)));
}

/// Checks that `server` says that its disk is full, answers queries, and takes nothing in.
fn check_full(server: &Server) {
    wait_for_ready(server, 503);
    let retried = "SELECT state, error FROM source_stats";
    eventually(|| rows(server, retried), |rows| rows[0].contains("the journal cannot be written"));
    let counted = || rows(server, "SELECT count(*) AS n FROM events");
    let before = counted();
    // So long that it does not fit beside what is there, as a short one might.
    let create = format!("CREATE VIEW refused AS SELECT '{}' AS text", "x".repeat(80_000));
    let url = format!("http://{}/api/v1/sql", server.address("http"));
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    std::io::Write::write_all(&mut file, create.as_bytes()).expect("the file");
    let refused = curl(&["--data-binary", &format!("@{}", file.path().display()), &url]);
    assert!(refused.status != 200 && refused.text().contains(REASON), "{}", refused.text());
    let number = |rows: &[String]| -> u64 {
        let row: Value = serde_json::from_str(&rows[0]).expect("JSON");
        row["n"].as_u64().expect("a number")
    };
    assert!(number(&counted()) >= number(&before));
}

#[test]
fn exactly_once_from_topic_to_topic_however_often_the_disk_is_full() {
    let Some(broker) = Broker::shared() else { return };
    let faults = times("UNDERCURRENT_DISK_FAULTS", 4);
    // What is written between two faults fits.
    let Some(disk) = Disk::mount((32 + 4 * faults as u64) << 20) else { return };
    let random = &mut StdRng::seed_from_u64(8);
    let pipeline = prepare(broker, broker.address(), "disk");
    let start = || pipeline.start_within(&disk.within(), &disk.path().join("data"), None).expect("a server");
    let mut kills = 0;
    let events = with_events(&pipeline, |written| {
        let mut server = start();
        pipeline.define(&server);
        for round in 0..faults {
            wait_for_messages(&server, random.random_range(1..1500));
            disk.fill(random.random_range(0..64 << 10));
            // Now and then it is killed before it notices.
            if round % 4 != 3 {
                check_full(&server);
                let logged = server.logged("nothing is taken: the journal cannot be written");
                assert!(logged["error"].as_str().is_some_and(|error| error.contains(REASON)), "{logged}");
            }
            wait_for_events(written, random.random_range(20..1500));
            assert_eq!(server.said(), [""; 0]);
            if round % 2 == 1 {
                server.stop("KILL");
                kills += 1;
                server = start();
                wait_for_events(written, random.random_range(20..500));
                if round % 4 != 3 {
                    check_full(&server);
                }
            }
            disk.free();
            wait_for_ready(&server, 200);
            assert_eq!(server.said(), [""; 0]);
        }
        server
    });
    println!("{faults} times the disk was full, {kills} kills meanwhile; {events}");
}
