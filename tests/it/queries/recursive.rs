//! What follows from the service graph and from traces step by step: text first, then beside plain algorithms.

use std::collections::{BTreeMap, BTreeSet};

use expect_test::expect;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use super::check_retried;
use super::notation::{START_NS, Session, lines, shown};

#[test]
fn who_is_hit_if_a_service_fails() {
    check_retried(
        "
        1/1   web  SERVER
        1/2<1 cart -
        1/3<2 db   -
        1/4<3 cart -
        2/1   cron -
        2/2<1 db   -
        3/1   lone -
        ",
        "SELECT * FROM service_reachability ORDER BY source_service, affected_service",
        expect![[r#"
            cart cron 2 4
            cart db 1 4
            cart user 2 4
            cart web 1 4
            db cart 1 4
            db cron 1 4
            db user 3 4
            db web 2 4
            web user 1 1
        "#]],
    );
}

#[test]
fn services_that_fail_with_each_other() {
    check_retried(
        "
        1/1   web  -
        1/2<1 cart -
        1/3<2 db   -
        1/4<3 cart -
        1/5<2 mail -
        2/1   b    -
        2/2<1 a    -
        2/3<2 c    -
        2/4<3 b    -
        2/5<4 cart -
        ",
        "SELECT * FROM dependency_cycles ORDER BY cycle, service_name",
        expect![[r#"
            a a 3
            a b 3
            a c 3
            cart cart 2
            cart db 2
        "#]],
    );
}

#[test]
fn an_edge_is_forgotten_an_hour_after_its_last_call() {
    let mut session = Session::new(2);
    session.prepare("SELECT * FROM service_reachability, dependency_cycles");
    session.append(&lines("1/1 a -\n1/2<1 b -\n1/3<2 a -"));
    session.close_at(START_NS / 1_000_000 + 60_000);
    let reached = "SELECT source_service, affected_service FROM service_reachability ORDER BY 1, 2";
    assert_eq!(shown(&session.rows(reached)), "a b\nb a\n");
    session.append(&lines("2/1 a - +1800s\n2/2<1 b - +1800s"));
    session.close_at(START_NS / 1_000_000 + 3_500_000);
    assert_eq!(shown(&session.rows(reached)), "a b\nb a\n");
    assert_eq!(session.rows("SELECT * FROM dependency_cycles").len(), 2);
    session.close_at(START_NS / 1_000_000 + 3_700_000);
    assert_eq!(shown(&session.rows(reached)), "b a\n");
    assert_eq!(session.rows("SELECT * FROM dependency_cycles").len(), 0);
    session.close_at(START_NS / 1_000_000 + 5_500_000);
    assert_eq!(session.rows(reached).len(), 0);
}

#[test]
fn edges_are_new_for_a_day() {
    let mut session = Session::new(2);
    let new = "SELECT source_service, target_service, first_seen_at FROM new_dependencies ORDER BY 1, 2";
    session.prepare(new);
    session.append(&lines("1/1 a -\n1/2<1 b -"));
    session.append(&lines("2/1 a - +80000s\n2/2<1 c - +80000s\n2/3<1 b - +80000s"));
    session.close_at(START_NS / 1_000_000 + 80_001_000);
    expect![[r#"
        a b 2023-11-14T22:13:00Z
        a c 2023-11-15T20:26:20Z
    "#]]
    .assert_eq(&shown(&session.rows(new)));
    session.close_at(START_NS / 1_000_000 + 86_401_000);
    expect![[r#"
        a c 2023-11-15T20:26:20Z
    "#]]
    .assert_eq(&shown(&session.rows(new)));
}

#[test]
fn a_trace_waits_for_the_child_that_ends_last() {
    check_retried(
        "
        1/1   web   SERVER name=GET 9000ms
        1/2<1 auth  - name=check 1000ms
        1/3<1 cart  - name=list 6000ms +2s
        1/4<3 db    - name=read 2000ms +3s
        1/5<3 db    - name=read 2000ms +5s
        1/6<3 cache - name=get 1000ms +5s
        1/7<5 disk  - name=sync 9000ms +6s
        2/2<1 lost  -
        ",
        "SELECT depth, right(span_id, 1), service_name, operation, duration_ms, self_ms
         FROM trace_critical_path ORDER BY trace_id, depth",
        expect![[r#"
            0 1 web GET 9000.0 3000.0
            1 3 cart list 6000.0 4000.0
            2 5 db read 2000.0 1000.0
            3 7 disk sync 9000.0 9000.0
        "#]],
    );
}

#[test]
fn a_failure_began_where_nothing_below_failed() {
    check_retried(
        "
        1/1   web  SERVER name=GET ERROR
        1/2<1 cart - name=list ERROR
        1/3<2 db   - name=read ERROR
        1/4<2 db   - name=read
        1/5<4 disk - name=sync ERROR
        1/6<1 mail - name=send ERROR
        2/1   web  SERVER name=PUT ERROR
        3/1   web  SERVER name=GET
        3/2<1 cart - name=list ERROR
        ",
        "SELECT right(trace_id, 1), root_service_name, root_operation, right(span_id, 1), service_name, operation, depth
         FROM trace_error_origins ORDER BY 1, 4",
        expect![[r#"
            1 web GET 3 db read 2
            1 web GET 6 mail send 1
            2 web PUT 1 web PUT 0
        "#]],
    );
}

#[test]
fn statements_that_differ_in_their_values_are_one() {
    check_retried(
        "
        1/1 cart CLIENT 10ms db.system=pg db.statement=t1.x=17
        1/2 cart CLIENT 30ms db.system.name=pg db.query.text=t1.x=1.5 ERROR
        1/3 cart CLIENT 20ms db.system=pg db.statement=x/in/(1,2,'a')
        1/4 cart CLIENT 20ms db.system=pg db.statement=x/in/('b''c',4) +3600s
        1/5 cart SERVER 90ms db.system=pg db.statement=x
        1/6 cart CLIENT 90ms peer.service=db
        1/7 -    CLIENT 10ms db.system=redis name=GET
        ",
        "SELECT hour_at, service_name, db_system, statement, call_count, error_count, total_ms, avg_latency_ms,
             round(latency_ms_p50), round(latency_ms_p99)
         FROM slow_queries ORDER BY 1, 2, 3, 4",
        expect![[r#"
            2023-11-14T22:00:00Z cart pg t1.x=? 2 1 40.0 20.0 10.0 10.0
            2023-11-14T22:00:00Z cart pg x/in/(?) 1 0 20.0 20.0 20.0 20.0
            2023-11-14T22:00:00Z null redis GET 1 0 10.0 10.0 10.0 10.0
            2023-11-14T23:00:00Z cart pg x/in/(?) 1 0 20.0 20.0 20.0 20.0
        "#]],
    );
}

/// A span of a tree, or of what is left of one: service and parent, when it ran, whether it failed.
#[derive(Clone, Debug)]
struct Span {
    trace: u32,
    id: u32,
    parent: Option<u32>,
    service: &'static str,
    began_s: u64,
    ms: u64,
    is_error: bool,
}

impl Span {
    fn line(&self) -> String {
        let Span { trace, id, service, began_s, ms, .. } = self;
        let parent = self.parent.map_or(String::new(), |p| format!("<{p}"));
        let status = if self.is_error { "ERROR" } else { "" };
        format!("{trace}/{id}{parent} {service} - {ms}ms +{began_s}s {status}")
    }

    fn ended_ms(&self) -> u64 {
        self.began_s * 1000 + self.ms
    }
}

/// Spans of a few traces: trees for the most part, some parents missing, and some in a circle.
fn spans(random: &mut StdRng, services: &[&'static str], traces: u32) -> Vec<Span> {
    let mut spans = vec![];
    for trace in 1..=traces {
        for id in 1..=random.random_range(1..=9) {
            let parent = if random.random_bool(0.9) { random.random_range(0..id) } else { 9 };
            spans.push(Span {
                trace,
                id,
                parent: (parent > 0).then_some(parent),
                service: services.choose(random).unwrap(),
                began_s: random.random_range(0..6),
                ms: random.random_range(0..4) * 1500,
                is_error: random.random_bool(0.6),
            });
        }
    }
    spans
}

/// Plays `spans` in random batches, some of them twice, and compares the rows of `sql` with `expected` at each tick.
fn compare(seed: u64, spans: &[Span], sql: &str, expected: impl Fn(&[Span]) -> BTreeSet<Vec<String>>) {
    let random = &mut StdRng::seed_from_u64(seed);
    let mut arrivals: Vec<Span> = spans.to_vec();
    arrivals.extend(spans.iter().filter(|_| random.random_bool(0.2)).cloned());
    arrivals.shuffle(random);
    let mut session = Session::new(1 + seed as usize % 3);
    session.prepare(sql);
    let (mut came, mut rest, mut most) = (vec![], &arrivals[..], 0);
    while !rest.is_empty() {
        let (batch, next) = rest.split_at(random.random_range(1..=rest.len().min(40)));
        session.append(&batch.iter().map(Span::line).collect::<Vec<_>>());
        session.close();
        came.extend_from_slice(batch);
        rest = next;
        let rows = session.rows(sql);
        let distinct: BTreeSet<Vec<String>> = rows.iter().cloned().collect();
        assert_eq!(distinct.len(), rows.len(), "seed {seed}: rows come twice");
        assert_eq!(distinct, expected(&came), "seed {seed}, after {} spans", came.len());
        most = most.max(rows.len());
    }
    assert!(most > 3, "seed {seed}: nothing is tested by {most} rows");
}

/// The calls by parent: of which service, which service.
fn edges(spans: &[Span]) -> BTreeSet<(&'static str, &'static str)> {
    let by_id: BTreeMap<(u32, u32), &Span> = spans.iter().map(|s| ((s.trace, s.id), s)).collect();
    let parent = |span: &Span| by_id.get(&(span.trace, span.parent?)).map(|p| (p.service, span.service));
    spans.iter().filter_map(parent).filter(|(caller, called)| caller != called).collect()
}

const SERVICES: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];

/// How many calls each service is from those that it reaches by at least one.
fn distances(spans: &[Span]) -> BTreeMap<(&'static str, &'static str), usize> {
    let edges = edges(spans);
    let mut all = BTreeMap::new();
    for start in SERVICES {
        let mut level: BTreeSet<&str> = [start].into();
        for hops in 1.. {
            let next = edges.iter().filter(|(caller, _)| level.contains(caller)).map(|(_, called)| *called);
            level = next.filter(|called| !all.contains_key(&(start, *called))).collect();
            if level.is_empty() {
                break;
            }
            all.extend(level.iter().map(|called| ((start, *called), hops)));
        }
    }
    all
}

#[test]
fn reachability_is_what_a_search_finds() {
    let sql = "SELECT * FROM service_reachability";
    for seed in 0..8 {
        let spans = spans(&mut StdRng::seed_from_u64(seed), &SERVICES, 4);
        compare(seed, &spans, sql, |spans| {
            let mut distances = distances(spans);
            distances.retain(|(caller, called), _| caller != called);
            let radius = |service: &str| distances.keys().filter(|(_, called)| *called == service).count();
            let row = |((caller, called), hops): (&(&str, &str), &usize)| {
                vec![called.to_string(), caller.to_string(), hops.to_string(), radius(called).to_string()]
            };
            distances.iter().map(row).collect()
        });
    }
}

#[test]
fn cycles_are_the_strongly_connected_components() {
    for seed in 0..8 {
        let spans = spans(&mut StdRng::seed_from_u64(seed), &SERVICES, 12);
        compare(seed, &spans, "SELECT * FROM dependency_cycles", |spans| {
            let distances = distances(spans);
            let is_mutual =
                |a: &str, b: &str| distances.contains_key(&(a, b)) && distances.contains_key(&(b, a));
            let component = |a| SERVICES.into_iter().filter(move |b| is_mutual(a, b)).collect::<Vec<_>>();
            let members = SERVICES.into_iter().map(|a| (a, component(a))).filter(|(_, c)| !c.is_empty());
            members.map(|(a, c)| vec![c[0].to_owned(), a.to_owned(), c.len().to_string()]).collect()
        });
    }
}

/// The children of `parent`; roots without one.
fn children(spans: &[Span], trace: u32, parent: Option<u32>) -> Vec<&Span> {
    let mut found: Vec<&Span> = spans.iter().filter(|s| s.trace == trace && s.parent == parent).collect();
    found.sort_by_key(|s| s.id);
    found.dedup_by_key(|s| s.id);
    found
}

#[test]
fn critical_paths_are_what_a_walk_finds() {
    let sql =
        "SELECT right(trace_id, 2)::int, depth, right(span_id, 1)::int, service_name, duration_ms, self_ms
               FROM trace_critical_path";
    for seed in 0..8 {
        let spans = spans(&mut StdRng::seed_from_u64(seed), &SERVICES, 12);
        compare(seed, &spans, sql, |spans| {
            let mut rows = BTreeSet::new();
            for root in (1..=12).flat_map(|trace| children(spans, trace, None)) {
                let mut step = Some(root);
                for depth in 0.. {
                    let Some(span) = step else { break };
                    let below = children(spans, span.trace, Some(span.id));
                    step = below.into_iter().max_by_key(|s| (s.ended_ms(), s.id));
                    let waited = step.map_or(0, |next| {
                        let end = next.ended_ms().min(span.ended_ms());
                        end.saturating_sub(next.began_s.max(span.began_s) * 1000)
                    });
                    rows.insert(vec![
                        span.trace.to_string(),
                        depth.to_string(),
                        span.id.to_string(),
                        span.service.to_owned(),
                        format!("{:?}", span.ms as f64),
                        format!("{:?}", (span.ms - waited) as f64),
                    ]);
                }
            }
            rows
        });
    }
}

/// The origins below `span`, which failed.
fn origins(spans: &[Span], root: &Span, span: &Span, depth: usize, rows: &mut BTreeSet<Vec<String>>) {
    let below: Vec<&Span> =
        children(spans, span.trace, Some(span.id)).into_iter().filter(|s| s.is_error).collect();
    if below.is_empty() {
        let (trace, id) = (span.trace.to_string(), span.id.to_string());
        rows.insert(vec![trace, root.service.to_owned(), id, span.service.to_owned(), depth.to_string()]);
    }
    below.into_iter().for_each(|next| origins(spans, root, next, depth + 1, rows));
}

#[test]
fn error_origins_are_what_a_descent_finds() {
    let sql = "SELECT right(trace_id, 2)::int, root_service_name, right(span_id, 1)::int, service_name, depth
               FROM trace_error_origins";
    for seed in 0..8 {
        let spans = spans(&mut StdRng::seed_from_u64(seed), &SERVICES, 12);
        compare(seed, &spans, sql, |spans| {
            let mut rows = BTreeSet::new();
            for root in (1..=12).flat_map(|trace| children(spans, trace, None)).filter(|s| s.is_error) {
                origins(spans, root, root, 0, &mut rows);
            }
            rows
        });
    }
}
