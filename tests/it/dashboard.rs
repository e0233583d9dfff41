//! The Grafana dashboard: every query in it runs, and gives what its panel needs.

use serde_json::Value;

use crate::in_process::InProcess;

const DASHBOARD: &str = include_str!("../../dashboards/undercurrent.json");

const TELEMETRY: &str = "
    1/1   web  SERVER 100ms name=GET
    1/2<1 web  CLIENT
    1/3<2 cart SERVER 10ms ERROR
    log cart ERROR
";

/// `sql` as Grafana sends it, with the time range of the panel in place of its macros.
fn expanded(sql: &str) -> String {
    let mut text = String::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once("$__timeFilter(") {
        let (column, after) = after.split_once(')').expect("the end of a macro");
        text += before;
        text += &format!("{column} BETWEEN '2023-11-14T22:00:00Z' AND '2023-11-14T23:00:00.123Z'");
        rest = after;
    }
    text += rest;
    assert!(!text.contains('$'), "a macro or a variable that is not known: {text}");
    text
}

/// The columns that a panel needs, and whether it needs rows.
fn needed(kind: &str, target: &Value) -> Vec<&'static str> {
    match (kind, target["refId"].as_str()) {
        ("nodeGraph", Some("nodes")) => {
            vec!["id", "title", "subtitle", "mainstat", "secondarystat", "arc__success", "arc__errors"]
        }
        ("nodeGraph", Some("edges")) => vec!["id", "source", "target", "mainstat", "secondarystat"],
        ("timeseries", _) => vec!["time", "metric", "value"],
        ("table", _) => vec![],
        other => panic!("a panel of another kind: {other:?}"),
    }
}

#[test]
fn every_query_runs_and_gives_the_columns_of_its_panel() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let server = InProcess::start(&[]);
    server.send(TELEMETRY);
    let mut ids = std::collections::BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let (title, kind) = (panel["title"].as_str().unwrap(), panel["type"].as_str().unwrap());
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is taken");
        let targets = panel["targets"].as_array().unwrap();
        assert_eq!(targets.len(), if kind == "nodeGraph" { 2 } else { 1 }, "{title}");
        let mut columns = vec![];
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let format = if kind == "timeseries" { "time_series" } else { "table" };
            assert_eq!(target["format"], format, "{title}");
            let rows = server.query(&expanded(target["rawSql"].as_str().unwrap()));
            let names: Vec<String> =
                rows.columns.iter().map(|c| c.split(": ").next().unwrap().to_owned()).collect();
            for name in needed(kind, target) {
                assert!(names.iter().any(|n| n == name), "{title}: no column {name} among {names:?}");
            }
            let is_empty = rows.rows.is_empty();
            assert_eq!(is_empty, title == "Rejected telemetry", "{title}: {rows:?}");
            columns.extend(names);
        }
        for rule in panel["fieldConfig"]["overrides"].as_array().unwrap() {
            let name = rule["matcher"]["options"].as_str().unwrap();
            assert!(columns.iter().any(|c| c == name), "{title}: a rule for {name}, which is no column");
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|v| v["name"] == "datasource" && v["type"] == "datasource"));
}
