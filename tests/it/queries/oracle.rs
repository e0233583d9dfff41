//! Random telemetry, in any order, at any pace, by any number of workers: each view is what its SELECT gives over all
//! that has come, and the graphs are what their rules give, written out plainly.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use undercurrent::built_in::MODELS;

use super::notation::{START_NS, Session, shown};

/// What the stream clock passes while telemetry comes, in milliseconds.
const CLOCK_MS: i64 = 75 * 60_000;

const KINDS: [&str; 6] = ["-", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
const SERVICES: [&str; 4] = ["web", "cart", "mail", "-"];
const PEERS: [&str; 5] = ["", "peer.service=p", "server.address=cart", "db.system=redis", "db.name=shop"];

/// A span as the rules see it.
#[derive(Clone, Debug)]
struct Span {
    trace: u32,
    id: u32,
    parent: Option<u32>,
    service: &'static str,
    kind: &'static str,
    peer: &'static str,
    is_error: bool,
    link: Option<(u32, u32)>,
}

/// Spans of few traces, so that most parents and links exist, but not all.
fn spans(random: &mut StdRng, count: usize) -> Vec<Span> {
    let mut spans = BTreeMap::new();
    for _ in 0..count {
        let (trace, id) = (random.random_range(1..=count as u32 / 6), random.random_range(1..=9));
        let span = Span {
            trace,
            id,
            parent: random.random_bool(0.8).then(|| random.random_range(1..=9)),
            service: SERVICES.choose(random).unwrap(),
            kind: KINDS.choose(random).unwrap(),
            peer: PEERS.choose(random).unwrap(),
            is_error: random.random_bool(0.2),
            link: random
                .random_bool(0.5)
                .then(|| (random.random_range(1..=count as u32 / 6), random.random_range(1..=9))),
        };
        spans.insert((trace, id), span);
    }
    spans.into_values().collect()
}

fn line(span: &Span, random: &mut StdRng) -> String {
    let Span { trace, id, service, kind, peer, .. } = span;
    let parent = span.parent.map_or(String::new(), |p| format!("<{p}"));
    let link = span.link.map_or(String::new(), |(trace, span)| format!("->{trace}/{span}"));
    let status = if span.is_error { "ERROR" } else { "" };
    let (name, ms, at) =
        (["GET", "PUT"].choose(random).unwrap(), random.random_range(0..999), random.random_range(0..200));
    format!(
        "{trace}/{id}{parent} {service} {kind} {ms}ms +{at}s {status} name={name} {link} {peer} @host.name=h{}",
        id % 2
    )
}

/// Points and log records beside the spans.
fn others(random: &mut StdRng, count: usize) -> Vec<String> {
    let mut lines = vec![];
    for _ in 0..count {
        let (at, service) = (random.random_range(0..400), SERVICES.choose(random).unwrap());
        let value = random.random_range(0..1000);
        lines.push(match random.random_range(0..6) {
            0 => format!("log {service} {} +{at}s", ["INFO", "ERROR", "17", "3"].choose(random).unwrap()),
            1 => format!("gauge cpu {service} 0.{value} +{at}s core={}", value % 2),
            2 => format!("counter served {service} {value} +{at}s"),
            3 => format!("delta latency {service} {}:{value} +{at}s", value % 7),
            4 => format!("total size {service} {}:0.{value} +{at}s @host.name=h{}", value % 7, value % 2),
            _ => format!("summary pause {service} {}:{value} +{at}s", value % 7),
        });
    }
    lines
}

/// Puts `lines` into a database in random batches and ticks, some of them twice.
fn played(
    lines: &[String],
    workers: usize,
    random: &mut StdRng,
    mut each_tick: impl FnMut(&mut Session),
) -> Session {
    let mut arrivals: Vec<String> = lines.to_vec();
    let is_span = |line: &&String| line.starts_with(|c: char| c.is_ascii_digit());
    arrivals.extend(lines.iter().filter(is_span).filter(|_| random.random_bool(0.2)).cloned());
    arrivals.shuffle(random);
    let mut session = Session::with_built_ins(workers);
    let mut rest = &arrivals[..];
    // The stream clock goes from the first of the telemetry past the last.
    let clock_ms = |rest: &[String]| {
        START_NS / 1_000_000 + CLOCK_MS - CLOCK_MS * rest.len() as i64 / arrivals.len() as i64
    };
    while !rest.is_empty() {
        let (batch, next) = rest.split_at(random.random_range(1..=rest.len().min(150)));
        session.append(batch);
        rest = next;
        if random.random_bool(0.4) {
            session.close_at(clock_ms(rest));
            each_tick(&mut session);
        }
    }
    session.close_at(clock_ms(rest) + 1_000);
    each_tick(&mut session);
    session
}

/// The materialized views: name and SELECT. Not the models: nothing here lasts the day until there is a version of one.
fn definitions(session: &mut Session) -> Vec<(String, String)> {
    let views = session.rows("SHOW VIEWS");
    let is_model = |name: &str| MODELS.iter().any(|(file, _)| file.trim_end_matches(".sql") == name);
    let views = views.into_iter().filter(|v| v[1] == "materialized view" && !is_model(&v[0]));
    views.map(|v| (v[0].clone(), v[2].clone())).collect()
}

fn sorted(mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    rows.sort();
    rows
}

#[test]
fn each_view_is_its_select_over_all_that_has_come() {
    // Some show only what is recent: these have rows early on.
    let mut has_rows = BTreeSet::new();
    let mut views = vec![];
    for seed in 0..6 {
        let random = &mut StdRng::seed_from_u64(seed);
        let mut lines: Vec<String> = spans(random, 200).iter().map(|s| line(s, random)).collect();
        lines.extend(others(random, 100));
        // A disk that fills while the clock passes.
        lines.extend((45..75).map(|m| format!("gauge disk.utilization web 0.{} +{}s", m + 5, m * 60)));
        lines.extend(super::detectors::outage().lines().map(str::to_owned));
        views = definitions(&mut Session::with_built_ins(1));
        assert_eq!(views.len(), 25);
        let mut answers: Vec<Vec<Vec<Vec<String>>>> = vec![];
        for workers in [1, 2] {
            let mut session = played(&lines, workers, random, |session| {
                for (name, query) in &views {
                    let view = sorted(session.rows(&format!("SELECT * FROM {name}")));
                    assert!(view == sorted(session.rows(query)), "seed {seed}, {workers} workers: {name}");
                    if !view.is_empty() {
                        has_rows.insert(name.clone());
                    }
                }
            });
            answers.push(
                views
                    .iter()
                    .map(|(name, _)| sorted(session.rows(&format!("SELECT * FROM {name}"))))
                    .collect(),
            );
        }
        for ((name, _), (one, two)) in views.iter().zip(answers[0].iter().zip(&answers[1])) {
            // Retried spans change nothing.
            assert_eq!(one, two, "seed {seed}: {name}");
        }
    }
    for (name, _) in &views {
        assert!(has_rows.contains(name), "{name} never has rows");
    }
}

/// An edge and how often: source, target, type.
type Edges = BTreeMap<(String, String, &'static str), (u32, u32)>;

/// The service graph, rule by rule; by kind or by parent.
fn graph(spans: &[Span], by_kind: bool) -> Edges {
    let by_id: BTreeMap<(u32, u32), &Span> = spans.iter().map(|s| ((s.trace, s.id), s)).collect();
    let mut edges = Edges::new();
    let mut add = |source: &str, target: &str, connection: &'static str, is_error: bool| {
        let edge = edges.entry((source.to_owned(), target.to_owned(), connection)).or_default();
        *edge = (edge.0 + 1, edge.1 + is_error as u32);
    };
    let calls = |span: &Span| ["CLIENT", "PRODUCER"].contains(&span.kind);
    let answers = |span: &Span| ["SERVER", "CONSUMER"].contains(&span.kind);
    let mut answered = BTreeSet::new();
    for called in spans.iter().filter(|s| s.service != "-") {
        if called.kind == "SERVER" && called.parent.is_none() {
            add("user", called.service, "virtual_node", called.is_error);
        }
        if let Some(producer) = called.link.filter(|l| l.0 != called.trace).and_then(|l| by_id.get(&l)) {
            let is_message =
                called.kind == "CONSUMER" && producer.kind == "PRODUCER" && producer.service != "-";
            if is_message && (by_kind || producer.service != called.service) {
                add(
                    producer.service,
                    called.service,
                    "messaging_system",
                    called.is_error || producer.is_error,
                );
            }
        }
        let Some(caller) = called.parent.and_then(|p| by_id.get(&(called.trace, p))) else { continue };
        if caller.service == "-" {
            continue;
        }
        let differ = caller.service != called.service;
        if caller.kind == "CLIENT" && (answers(called) || (!by_kind && calls(called) && differ)) {
            answered.insert((caller.trace, caller.id));
        }
        let is_call = match by_kind {
            true => calls(caller) && answers(called),
            false => {
                differ
                    && (caller.kind != "CLIENT" || caller.peer.is_empty() || calls(called) || answers(called))
            }
        };
        if is_call {
            let is_message = caller.kind == "PRODUCER" || called.kind == "CONSUMER";
            let connection = if is_message { "messaging_system" } else { "direct" };
            add(
                caller.service,
                called.service,
                connection,
                called.is_error || (calls(caller) && caller.is_error),
            );
        }
    }
    let unanswered =
        |s: &&Span| s.kind == "CLIENT" && s.service != "-" && !answered.contains(&(s.trace, s.id));
    for client in spans.iter().filter(unanswered) {
        if let Some((key, peer)) = client.peer.split_once('=') {
            let connection = if key.starts_with("db.") { "database" } else { "virtual_node" };
            add(client.service, peer, connection, client.is_error);
        }
    }
    edges
}

#[test]
fn the_graphs_are_what_their_rules_give() {
    for seed in 100..112 {
        let random = &mut StdRng::seed_from_u64(seed);
        let spans = spans(random, 300);
        let lines: Vec<String> = spans.iter().map(|s| line(s, random)).collect();
        let mut session = played(&lines, 1 + seed as usize % 2, random, |_| {});
        for (view, by_kind) in [("service_dependencies", false), ("service_dependencies_by_kind", true)] {
            let rows = session.rows(&format!(
                "SELECT source_service, target_service, connection_type, call_count, error_count FROM {view}"
            ));
            let edges = graph(&spans, by_kind);
            let expected = edges.into_iter().map(|((source, target, connection), (calls, errors))| {
                vec![source, target, connection.to_owned(), calls.to_string(), errors.to_string()]
            });
            assert_eq!(shown(&sorted(rows)), shown(&sorted(expected.collect())), "seed {seed}: {view}");
        }
    }
}
