//! Faults that were injected into a real system, and what the built-in views say of them.
//!
//! Needs the folder that `UNDERCURRENT_SHARED` names, with `datasets/trainticket` in it: 84 minutes of a day, scattered
//! around 28 faults.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use undercurrent::ingest::{Replay, ReplayOptions};

use crate::queries::notation::Session;

const MINUTE: i64 = 60;

/// How often each template was logged, and how many spans there were, by service and minute.
const LINES: &str = "CREATE MATERIALIZED VIEW lines AS
    SELECT date_part('epoch', date_bin(INTERVAL '1 minute', ts))::bigint AS at, service_name,
        log_pattern(template) OVER (PARTITION BY service_name, log_merge_key(template)) AS template, record_count
    FROM (SELECT date_bin(INTERVAL '1 minute', ts) AS ts, service_name, log_template(body) AS template,
              count(*) AS record_count FROM logs GROUP BY 1, 2, 3) AS counted";
const SPANS: &str = "CREATE MATERIALIZED VIEW spans_by_minute AS
    SELECT date_part('epoch', date_bin(INTERVAL '1 minute', started_at))::bigint AS at, service_name, count(*) AS span_count
    FROM (SELECT DISTINCT trace_id, span_id, service_name, started_at FROM spans) AS span GROUP BY 1, 2";

/// What was done to which service when, in seconds since 1970.
struct Fault {
    at: i64,
    service: String,
    kind: String,
}

impl Fault {
    /// Whether the minute that begins at `at` has something of the three minutes after it.
    fn is_shown_by(&self, at: i64) -> bool {
        at + MINUTE > self.at && at <= self.at + 3 * MINUTE
    }
}

fn faults(folder: &Path) -> Vec<Fault> {
    let text = std::fs::read_to_string(folder.join("faults.json")).unwrap();
    let by_hour: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    let all = by_hour.values().flat_map(|hour| hour.as_array().unwrap());
    let read = |fault: &serde_json::Value| {
        let text = |name: &str| fault[name].as_str().unwrap();
        let at: jiff::civil::DateTime = text("inject_time").parse().unwrap();
        let at = at.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second();
        // Of a pod's name, the service is what comes before the two parts that make it unique.
        let service = text("inject_pod").rsplitn(3, '-').last().unwrap().to_owned();
        Fault { at, service, kind: text("inject_type").to_owned() }
    };
    all.map(read).collect()
}

/// A database that has seen the day, by its own clock.
fn replayed(folder: &Path, until: i64) -> Session {
    let mut session = Session::new(2);
    session.prepare("SELECT * FROM anomalies");
    session.run(LINES);
    session.run(SPANS);
    let files = ["traces", "logs"].map(|signal| folder.join(format!("{signal}.jsonl.gz")));
    let mut rows = 0;
    for step in Replay::open(&files, ReplayOptions::at(i64::MAX / 2)).unwrap() {
        rows += step.batches.iter().map(|batch| batch.rows.num_rows()).sum::<usize>();
        session.take(&step.batches);
        if rows > 50_000 {
            rows = 0;
            session.close_at(step.clock_ns.map_or(0, |ns| ns / 1_000_000));
        }
    }
    session.close_at(until * 1_000);
    session
}

/// Of each fault, the minutes and detectors of events on its service; and all events that stand elsewhere.
fn events(day: &mut Session, faults: &[Fault]) -> (Vec<BTreeSet<String>>, usize, usize) {
    let sql = "SELECT date_part('epoch', detected_at)::bigint, detector || ' ' || metric_name, service_name FROM anomaly_events";
    let mut found = vec![BTreeSet::new(); faults.len()];
    let (mut count, mut elsewhere) = (0, 0);
    for event in day.rows(sql) {
        let at: i64 = event[0].parse().unwrap();
        let mut is_of_one = false;
        for (fault, found) in faults.iter().zip(&mut found).filter(|(fault, _)| fault.service == event[2]) {
            if fault.is_shown_by(at) {
                found.insert(event[1].clone());
            }
            // Some began a minute before they are said to.
            is_of_one |= fault.is_shown_by(at) || fault.is_shown_by(at + MINUTE);
        }
        count += 1;
        elsewhere += usize::from(!is_of_one);
    }
    (found, count, elsewhere)
}

/// The pattern of each fault's service whose lines for each span are most unlike those of other minutes: at least three
/// lines, and three times as many or as few.
fn signatures(day: &mut Session, faults: &[Fault]) -> Vec<Option<String>> {
    let read = |rows: Vec<Vec<String>>| -> Vec<(i64, Vec<String>)> {
        rows.into_iter().map(|row| (row[0].parse().unwrap(), row)).collect()
    };
    let lines = read(day.rows("SELECT at, service_name, record_count, template FROM lines"));
    let spans = read(day.rows("SELECT at, service_name, span_count FROM spans_by_minute"));
    let signature = |fault: &Fault| {
        let is_other = |at: i64| !faults.iter().any(|f| f.service == fault.service && f.is_shown_by(at));
        let sum = |rows: &[(i64, Vec<String>)], template: Option<&str>, of: &dyn Fn(i64) -> bool| -> f64 {
            let is_it = |row: &Vec<String>| row[1] == fault.service && template.is_none_or(|t| row[3] == t);
            rows.iter()
                .filter(|(at, row)| of(*at) && is_it(row))
                .map(|(_, row)| row[2].parse::<f64>().unwrap())
                .sum()
        };
        let is_shown = |at: i64| fault.is_shown_by(at);
        let (shown_spans, other_spans) = (sum(&spans, None, &is_shown), sum(&spans, None, &is_other));
        let templates: BTreeSet<String> =
            lines.iter().filter(|(_, row)| row[1] == fault.service).map(|(_, row)| row[3].clone()).collect();
        let change = |template: &String| {
            let (shown, other) =
                (sum(&lines, Some(template), &is_shown), sum(&lines, Some(template), &is_other));
            let rates = [shown / shown_spans.max(1.0), other / other_spans.max(1.0)];
            // What would be expected, and what there is.
            let is_enough = shown.max(rates[1] * shown_spans) >= 3.0;
            let ratio = rates[0].max(rates[1]) / rates[0].min(rates[1]).max(1e-9);
            (is_enough && ratio >= 3.0).then_some((ratio, template.clone()))
        };
        templates.iter().filter_map(change).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, template)| template)
    };
    faults.iter().map(signature).collect()
}

#[test]
fn most_injected_faults_are_found_on_the_service_that_they_are_in() {
    let Some(shared) = std::env::var_os("UNDERCURRENT_SHARED") else {
        println!("left out: UNDERCURRENT_SHARED is not set");
        return;
    };
    let folder = PathBuf::from(shared).join("datasets/trainticket");
    let faults = faults(&folder);
    let until = faults.iter().map(|fault| fault.at).max().unwrap() + 3600;
    let mut day = replayed(&folder, until);
    let (found, count, elsewhere) = events(&mut day, &faults);
    let signatures = signatures(&mut day, &faults);
    for ((fault, found), signature) in faults.iter().zip(&found).zip(&signatures) {
        println!("{} {} {}: {found:?} {signature:?}", fault.at, fault.service, fault.kind);
    }
    let is_found = found.iter().filter(|found| !found.is_empty()).count();
    let has_signature = signatures.iter().flatten().count();
    println!(
        "{is_found} of {} faults found, {elsewhere} of {count} events elsewhere, {has_signature} with a log pattern",
        faults.len()
    );
    let incidents = day.rows("SELECT detectors, service_name FROM anomalies");
    println!("{} incidents", incidents.len());
    assert_eq!(faults.len(), 28);
    assert!(is_found >= 14 && elsewhere <= 100 && has_signature >= 14);
}
