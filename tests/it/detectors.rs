//! Detectors and models: what is refused, and what models go through.

use expect_test::{Expect, expect};

use crate::support::Server;

/// The message with which each of `statements` is refused.
fn check_refused(statements: &[&str], expected: Expect) {
    let mut server = Server::new(1);
    server.run("CREATE TABLE points (at timestamp, name text, x double precision)");
    let refusals = statements.iter().map(|sql| format!("{sql}\n    {}\n", server.refusal(sql)));
    expected.assert_eq(&refusals.collect::<String>());
}

#[test]
fn options_of_detectors_are_checked() {
    check_refused(
        &[
            "CREATE MATERIALIZED VIEW v AS SELECT stl(x, period => 1) OVER (ORDER BY at) AS s FROM points",
            "CREATE MATERIALIZED VIEW v AS SELECT stl(x, period => 4, step => INTERVAL '1 month') OVER (ORDER BY at) AS s FROM points",
            "CREATE MATERIALIZED VIEW v AS SELECT stl(x, in_sample => true) OVER (ORDER BY at) AS s FROM points",
            "CREATE MATERIALIZED VIEW v AS SELECT stl(x, period => 4) OVER (ORDER BY at DESC) AS s FROM points",
            "CREATE MATERIALIZED VIEW v AS SELECT stl(x, period => 4) OVER (PARTITION BY name) AS s FROM points",
            "CREATE MATERIALIZED VIEW v AS SELECT stl(name, period => 4) OVER (ORDER BY at) AS s FROM points",
            "CREATE MATERIALIZED VIEW v AS SELECT three_sigma(x, threshold => 0) OVER (ORDER BY at) AS s FROM points",
            "CREATE MATERIALIZED VIEW v AS SELECT three_sigma(x, window => x) OVER (ORDER BY at) AS s FROM points",
            "CREATE MATERIALIZED VIEW v AS SELECT three_sigma(x, sigma => 3) OVER (ORDER BY at) AS s FROM points",
            "CREATE MATERIALIZED VIEW v AS SELECT change_points(x, penalty => 'none') OVER (ORDER BY at) AS s FROM points",
            "CREATE MATERIALIZED VIEW v AS SELECT change_points(x, penalty => -1) OVER (ORDER BY at) AS s FROM points",
            "CREATE MATERIALIZED VIEW v AS SELECT isolation_forest(x, trees => 5000) AS f FROM points",
        ],
        expect![[r#"
            CREATE MATERIALIZED VIEW v AS SELECT stl(x, period => 1) OVER (ORDER BY at) AS s FROM points
                option period = "1": a whole number from 2 to 5000000, or a list of them, is expected
            CREATE MATERIALIZED VIEW v AS SELECT stl(x, period => 4, step => INTERVAL '1 month') OVER (ORDER BY at) AS s FROM points
                option step = "IntervalMonthDayNano { months: 1, days: 0, nanoseconds: 0 }": an interval above zero, of days at most, is expected
            CREATE MATERIALIZED VIEW v AS SELECT stl(x, in_sample => true) OVER (ORDER BY at) AS s FROM points
                option in_sample = "true": a period is expected beside it
            CREATE MATERIALIZED VIEW v AS SELECT stl(x, period => 4) OVER (ORDER BY at DESC) AS s FROM points
                Error during planning: stl: ORDER BY points.at is expected to ascend
            CREATE MATERIALIZED VIEW v AS SELECT stl(x, period => 4) OVER (PARTITION BY name) AS s FROM points
                Error during planning: stl: OVER (... ORDER BY one column) is expected, its rows are a series
            CREATE MATERIALIZED VIEW v AS SELECT stl(name, period => 4) OVER (ORDER BY at) AS s FROM points
                Error during planning: Execution error: Function 'stl' user-defined coercion failed with: Error during planning: stl: a number is expected. No function matches the given name and argument types 'stl(Timestamp(ns), Utf8, Int64, Int64)'. You might need to add explicit type casts.
            	Candidate functions:
            	stl(UserDefined)
            CREATE MATERIALIZED VIEW v AS SELECT three_sigma(x, threshold => 0) OVER (ORDER BY at) AS s FROM points
                option threshold = "0": a number from 0.000001 to 1000000000 is expected
            CREATE MATERIALIZED VIEW v AS SELECT three_sigma(x, window => x) OVER (ORDER BY at) AS s FROM points
                option window = "1:points.x@1": a constant is expected
            CREATE MATERIALIZED VIEW v AS SELECT three_sigma(x, sigma => 3) OVER (ORDER BY at) AS s FROM points
                option sigma = "3": three_sigma takes min_samples, window, threshold, robust
            CREATE MATERIALIZED VIEW v AS SELECT change_points(x, penalty => 'none') OVER (ORDER BY at) AS s FROM points
                option penalty = "none": one of 'aic', 'bic', 'mbic' is expected
            CREATE MATERIALIZED VIEW v AS SELECT change_points(x, penalty => -1) OVER (ORDER BY at) AS s FROM points
                option penalty = "-1": a number from 0 to 1000000000000 is expected
            CREATE MATERIALIZED VIEW v AS SELECT isolation_forest(x, trees => 5000) AS f FROM points
                option trees = "5000": a whole number from 1 to 1000 is expected
        "#]],
    );
}

#[test]
fn models_are_checked() {
    check_refused(
        &[
            "CREATE MODEL m USING random_forest AS SELECT at, x FROM points",
            "CREATE MODEL m USING isolation_forest AS SELECT at, name FROM points",
            "CREATE MODEL m USING isolation_forest AS SELECT x FROM points",
            "CREATE MODEL m USING isolation_forest AS SELECT at, at AS other_at, x FROM points",
            "CREATE MODEL m USING isolation_forest AS SELECT at FROM points",
            "CREATE MODEL m USING isolation_forest WITH (forest = 1) AS SELECT at, x FROM points",
            "CREATE MODEL m USING isolation_forest WITH (trees = many) AS SELECT at, x FROM points",
            "CREATE MODEL m USING isolation_forest WITH (trees = 0) AS SELECT at, x FROM points",
            "CREATE MODEL m USING isolation_forest WITH (retrain = '1 day', window = '36 hours') AS SELECT at, x FROM points",
            "CREATE MODEL m AS SELECT at, x FROM points",
            "DROP MODEL points",
            "SELECT anomaly_score(m, x) FROM points",
            "SELECT anomaly_score(x + 1, x) FROM points",
        ],
        expect![[r#"
            CREATE MODEL m USING random_forest AS SELECT at, x FROM points
                option USING = "random_forest": isolation_forest is expected
            CREATE MODEL m USING isolation_forest AS SELECT at, name FROM points
                column "name" of model "m" is Utf8; a model is trained on numbers and one timestamp
            CREATE MODEL m USING isolation_forest AS SELECT x FROM points
                option time = "": the timestamp by which rows are put in windows is expected; the query has none
            CREATE MODEL m USING isolation_forest AS SELECT at, at AS other_at, x FROM points
                option time = "": the timestamp by which rows are put in windows is expected; the query has at, other_at
            CREATE MODEL m USING isolation_forest AS SELECT at FROM points
                model "m" has 0 features, from 1 to 64 are allowed
            CREATE MODEL m USING isolation_forest WITH (forest = 1) AS SELECT at, x FROM points
                option forest = "1": a model takes trees, sample_size, seed, retrain, window, keep, rows_min and time
            CREATE MODEL m USING isolation_forest WITH (trees = many) AS SELECT at, x FROM points
                option trees = "many": a whole number, not below zero, is expected
            CREATE MODEL m USING isolation_forest WITH (trees = 0) AS SELECT at, x FROM points
                option trees = "0": a whole number from 1 to 1000 is expected
            CREATE MODEL m USING isolation_forest WITH (retrain = '1 day', window = '36 hours') AS SELECT at, x FROM points
                option window = "129600000 ms": a whole multiple of retrain is expected
            CREATE MODEL m AS SELECT at, x FROM points
                syntax error: sql parser error: Expected: USING, found: AS at Line: 1, Column: 16
            DROP MODEL points
                model "points" does not exist
            SELECT anomaly_score(m, x) FROM points
                relation "m" does not exist; SHOW TABLES lists what there is
            SELECT anomaly_score(x + 1, x) FROM points
                "anomaly_score(x + 1, x)": anomaly_score(model, feature, ... [, at => time]) is expected
        "#]],
    );
}

#[test]
fn a_model_is_listed_read_replaced_and_dropped() {
    let mut server = Server::new(2);
    server.run("CREATE TABLE points (at timestamp, x double precision)");
    let create = |trees: u32| {
        format!(
            "CREATE OR REPLACE MODEL m USING isolation_forest WITH (trees = {trees}, rows_min = 2, retrain = '1 minute', \
             window = '2 minutes') AS SELECT at, x FROM points"
        )
    };
    server.run(&create(3));
    server.run("INSERT INTO points VALUES ('1970-01-01 00:00:10', 1), ('1970-01-01 00:00:20', 2), ('1970-01-01 00:01:10', 3)");
    server.close(125_000);
    let models = "SHOW MODELS";
    let shown = |server: &mut Server| server.query(models).expect("models").sorted().join("\n");
    expect!["m | isolation_forest | x | 2 | 1970-01-01T00:02:00 | 3 | SELECT at, x FROM points"]
        .assert_eq(&shown(&mut server));
    server.run(&create(4));
    server.run("CREATE MATERIALIZED VIEW scored AS SELECT at, anomaly_score(m, x) AS score FROM points");
    server.close(126_000);
    expect!["3"]
        .assert_eq(&server.query("SELECT count(score) AS n FROM scored").expect("rows").sorted().join("\n"));
    expect![[r#"cannot drop "m": scored reads it; drop it first"#]]
        .assert_eq(&server.refusal("DROP MODEL m"));
    server.run("DROP MATERIALIZED VIEW scored");
    server.run("DROP MODEL m");
    server.run("DROP MODEL IF EXISTS m");
    expect![[""]].assert_eq(&shown(&mut server));
}
