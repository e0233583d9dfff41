//! Tables of users: statements that create, fill and change them, and views over them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use expect_test::{Expect, expect};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use undercurrent::delta::updates::Run;

use crate::support::{Rows, Server};

/// The answers of `statements`, each below its statement.
fn check(server: &mut Server, statements: &[&str], expected: Expect) {
    let mut text = String::new();
    for sql in statements {
        text += &format!("{sql}\n");
        match server.answer(sql) {
            Ok(undercurrent::engine::Answer::Rows { schema, batches }) => {
                Rows::new(&schema, &batches)
                    .sorted()
                    .iter()
                    .for_each(|line| text += &format!("    {line}\n"));
            }
            Ok(undercurrent::engine::Answer::Written(written)) => {
                if let Some((schema, batches)) = &written.returning {
                    Rows::new(schema, batches).sorted().iter().for_each(|l| text += &format!("    {l}\n"));
                }
                text += &format!("    {}\n", written.tag());
            }
            Ok(undercurrent::engine::Answer::Done(tag)) => text += &format!("    {tag}\n"),
            Ok(_) => panic!("a subscription"),
            Err(error) => text += &format!("    error: {error}\n"),
        }
    }
    expected.assert_eq(&text);
}

#[test]
fn rows_come_change_and_go() {
    check(
        &mut Server::new(3),
        &[
            "CREATE TABLE owners (service text PRIMARY KEY, team varchar(8) NOT NULL, level int DEFAULT 1 + 1)",
            "CREATE MATERIALIZED VIEW per_team AS SELECT team, count(*) AS n, sum(level) AS s FROM owners GROUP BY 1",
            "INSERT INTO owners VALUES ('web', 'front'), ('cart', 'shop', 7.5)",
            "INSERT INTO owners VALUES ('web', 'front', DEFAULT), ('cart', 'shop', 7.5)",
            "INSERT INTO owners (team, service) SELECT team, service || '2' FROM owners RETURNING *",
            "SELECT * FROM owners",
            "SELECT * FROM per_team",
            "UPDATE owners SET level = level + 1, team = 'both' WHERE service LIKE 'web%' RETURNING service, level",
            "DELETE FROM owners WHERE level = 8 RETURNING level * 2 AS twice",
            "SELECT * FROM per_team",
            "INSERT INTO owners VALUES ('new', 'x', 1), ('web', 'y', 1)",
            "INSERT INTO owners VALUES ('new', NULL, 1)",
            "INSERT INTO owners VALUES ('new', 'much too long', 1)",
            "INSERT INTO owners VALUES ('new', 'x', 'y')",
            "INSERT INTO owners VALUES ('new', 'x', 1) ON CONFLICT DO NOTHING",
            "INSERT INTO owners VALUES ('new', 'z', 5), ('newer', 'z', 5) ON CONFLICT (service) DO UPDATE SET level = excluded.level + owners.level WHERE level < 2 RETURNING service, level",
            "UPDATE owners SET service = 'one'",
            "UPDATE owners SET service = service || 'x' WHERE team = 'z'",
            "SELECT * FROM owners",
            "TRUNCATE owners",
            "SELECT count(*) FROM per_team",
            "DROP TABLE owners",
            "DROP VIEW per_team",
            "DROP TABLE owners",
            "DROP TABLE owners",
            "DROP TABLE IF EXISTS owners",
        ],
        expect![[r#"
                CREATE TABLE owners (service text PRIMARY KEY, team varchar(8) NOT NULL, level int DEFAULT 1 + 1)
                    CREATE TABLE
                CREATE MATERIALIZED VIEW per_team AS SELECT team, count(*) AS n, sum(level) AS s FROM owners GROUP BY 1
                    CREATE MATERIALIZED VIEW
                INSERT INTO owners VALUES ('web', 'front'), ('cart', 'shop', 7.5)
                    error: Error during planning: Inconsistent data length across values list: got 3 values in row 1 but expected 2
                INSERT INTO owners VALUES ('web', 'front', DEFAULT), ('cart', 'shop', 7.5)
                    INSERT 0 2
                INSERT INTO owners (team, service) SELECT team, service || '2' FROM owners RETURNING *
                    cart2 | shop | 2
                    web2 | front | 2
                    INSERT 0 2
                SELECT * FROM owners
                    cart | shop | 8
                    cart2 | shop | 2
                    web | front | 2
                    web2 | front | 2
                SELECT * FROM per_team
                    front | 2 | 4
                    shop | 2 | 10
                UPDATE owners SET level = level + 1, team = 'both' WHERE service LIKE 'web%' RETURNING service, level
                    web | 3
                    web2 | 3
                    UPDATE 2
                DELETE FROM owners WHERE level = 8 RETURNING level * 2 AS twice
                    16
                    DELETE 1
                SELECT * FROM per_team
                    both | 2 | 6
                    shop | 1 | 2
                INSERT INTO owners VALUES ('new', 'x', 1), ('web', 'y', 1)
                    error: duplicate key value violates unique constraint "owners_pkey": key (service) = (web) already exists
                INSERT INTO owners VALUES ('new', NULL, 1)
                    error: null value in column "team" of relation "owners" violates not-null constraint
                INSERT INTO owners VALUES ('new', 'much too long', 1)
                    error: value too long for type character varying(8) of column "team"
                INSERT INTO owners VALUES ('new', 'x', 'y')
                    error: Optimizer rule 'simplify_expressions' failed
                caused by
                Arrow error: Cast error: Cannot cast string 'y' to value of Int32 type
                INSERT INTO owners VALUES ('new', 'x', 1) ON CONFLICT DO NOTHING
                    INSERT 0 1
                INSERT INTO owners VALUES ('new', 'z', 5), ('newer', 'z', 5) ON CONFLICT (service) DO UPDATE SET level = excluded.level + owners.level WHERE level < 2 RETURNING service, level
                    new | 6
                    newer | 5
                    INSERT 0 2
                UPDATE owners SET service = 'one'
                    error: duplicate key value violates unique constraint "owners_pkey": key (service) = (one) already exists
                UPDATE owners SET service = service || 'x' WHERE team = 'z'
                    UPDATE 1
                SELECT * FROM owners
                    cart2 | shop | 2
                    new | x | 6
                    newerx | z | 5
                    web | both | 3
                    web2 | both | 3
                TRUNCATE owners
                    TRUNCATE TABLE
                SELECT count(*) FROM per_team
                    0
                DROP TABLE owners
                    error: cannot drop "owners": per_team reads it; drop it first
                DROP VIEW per_team
                    DROP VIEW
                DROP TABLE owners
                    DROP TABLE
                DROP TABLE owners
                    error: table "owners" does not exist
                DROP TABLE IF EXISTS owners
                    DROP TABLE
            "#]],
    );
}

/// Views over the tables `a` and `b` of the random test: a filter, groups, joins of every kind, and both.
const VIEWS: [&str; 8] = [
    "SELECT id, n, s FROM a WHERE n > 1",
    "SELECT s, count(*) AS c, sum(n) AS total, min(n) AS low, max(n) AS high FROM a GROUP BY s",
    "SELECT DISTINCT s FROM a",
    "SELECT a.s, b.s AS other, a.n + b.n AS n FROM a JOIN b ON a.n = b.n",
    "SELECT a.id, b.s FROM a LEFT JOIN b ON a.s = b.s AND b.n > 1",
    "SELECT count(*) AS c, sum(x) AS x FROM (SELECT n, avg(x) AS x FROM b GROUP BY n HAVING count(*) > 1) AS g",
    "SELECT s FROM b WHERE n IN (SELECT n FROM a)",
    "SELECT s, n FROM a UNION SELECT s, n FROM b",
];

/// A random statement over the tables `a`, which has a key, and `b`, which has none.
fn statement(random: &mut StdRng) -> String {
    let texts = ["'x'", "'y'", "'z'", "NULL"];
    let id = random.random_range(0..12);
    let n = ["0", "1", "2", "3", "NULL"][random.random_range(0..5)];
    let s = texts[random.random_range(0..4)];
    let x = ["0.1", "0.2", "-0.3", "1e16", "NULL"][random.random_range(0..5)];
    match random.random_range(0..14) {
        0 | 1 => format!("INSERT INTO a VALUES ({id}, {n}, {s}), ({}, 1, 'y')", id + 1),
        2 => format!(
            "INSERT INTO a VALUES ({id}, {n}, {s}) ON CONFLICT (id) DO UPDATE SET n = a.n + 1, s = excluded.s"
        ),
        3 => format!("INSERT INTO a VALUES ({id}, {n}, {s}), ({id}, 2, 'x') ON CONFLICT DO NOTHING"),
        4..=6 => format!("INSERT INTO b VALUES ({n}, {s}, {x}), ({n}, {s}, {x}), (2, 'z', 0.5)"),
        7 => format!("INSERT INTO b SELECT n, s, id FROM a WHERE id < {id}"),
        8 => format!("UPDATE a SET n = {n}, s = coalesce(s, {s}) WHERE id % 3 = {}", id % 3),
        9 => format!("UPDATE b SET n = n + 1, x = x + 0.1 WHERE s = {s} OR n = {id}"),
        10 => format!("UPDATE a SET id = id + 20 WHERE id = {id}"),
        11 => format!("DELETE FROM a WHERE id > {id} AND s = {s}"),
        12 => format!("DELETE FROM b USING a WHERE a.n = b.n AND a.s = {s}"),
        _ => format!("UPDATE b SET s = a.s FROM a WHERE a.id = b.n AND a.id < {id}"),
    }
}

#[test]
fn views_over_tables_equal_batch_queries_whatever_statements_change() {
    let (mut compared, mut refused) = (0, 0);
    for seed in 0..16 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut server = Server::new(1 + seed as usize % 3);
        server.run("CREATE TABLE a (id int PRIMARY KEY, n bigint, s text)");
        server.run("CREATE TABLE b (n bigint, s text, x double precision)");
        let mut views = vec![];
        for round in 0..40 {
            if random.random_ratio(1, 4) && views.len() < VIEWS.len() {
                server.run(&format!("CREATE MATERIALIZED VIEW v{} AS {}", views.len(), VIEWS[views.len()]));
                views.push(VIEWS[views.len()]);
            }
            let sql = statement(&mut random);
            let before = [
                server.query("SELECT * FROM a").unwrap().sorted(),
                server.query("SELECT * FROM b").unwrap().sorted(),
            ];
            match server.answer(&sql) {
                Ok(_) => {}
                // A key is there already: nothing of the statement may be done.
                Err(error) if error.to_string().contains("duplicate key") => {
                    refused += 1;
                    let after =
                        ["a", "b"].map(|t| server.query(&format!("SELECT * FROM {t}")).unwrap().sorted());
                    assert_eq!(before, after, "seed {seed}, round {round}: {sql}");
                }
                Err(error) => panic!("seed {seed}, round {round}: {sql}: {error}"),
            }
            let ids = server.query("SELECT count(*) - count(DISTINCT id) AS twice FROM a").unwrap();
            assert_eq!(ids.rows, [["0"]], "seed {seed}, round {round}: {sql}");
            for (number, query) in views.iter().enumerate() {
                let view = server.query(&format!("SELECT * FROM v{number}")).unwrap().sorted();
                let batch = server.query(query).unwrap().sorted();
                assert_eq!(view, batch, "seed {seed}, round {round}, after {sql}: {query}");
                compared += !batch.is_empty() as usize;
            }
        }
    }
    assert!(compared > 1000 && refused > 20, "{compared} answers with rows, {refused} statements refused");
}

#[test]
fn an_append_only_table_is_a_stream() {
    let mut server = Server::new(2);
    server.database.engine.store_at_most(100_000);
    server.run("CREATE TABLE e (id bigint NOT NULL, s text) WITH (append_only = true)");
    server.run("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS c, sum(id) AS t FROM e");
    for batch in 0..20 {
        let first = batch * 1000;
        server.run(&format!(
            "INSERT INTO e SELECT n + {first}, 'text' FROM (SELECT unnest(range(1000)) AS n) AS r"
        ));
    }
    // The view has seen all; the oldest rows had to go.
    assert_eq!(server.query("SELECT * FROM v").unwrap().rows, [["20000", "199990000"]]);
    let kept = server.query("SELECT row_count, stored_rows + evicted_rows AS r, stored_bytes <= 100000 AS b, evicted_rows > 0 AS e FROM stream_stats WHERE stream = 'e'");
    assert_eq!(kept.unwrap().rows, [["20000", "20000", "true", "true"]]);
    assert_eq!(server.query("SELECT min(id) > 0 AS m FROM e").unwrap().rows, [["true"]]);
    // It has no retractions: what a join keeps of it need not be found again.
    let dataflow =
        server.query("EXPLAIN DATAFLOW SELECT a.id FROM e AS a JOIN e AS b ON a.id = b.id").unwrap();
    assert!(dataflow.rows.iter().any(|row| row[0].contains("Source e")), "{dataflow:?}");
    let refused = "cannot UPDATE rows of \"e\": it is append-only, and takes INSERT and COPY alone";
    assert_eq!(server.refusal("UPDATE e SET id = 1"), refused);
    // An ordinary table does not forget: it refuses.
    server.run("CREATE TABLE o (id bigint)");
    let full = server.refusal("INSERT INTO o SELECT unnest(range(20000))");
    assert!(full.starts_with("table \"o\" would take "), "{full}");
    assert_eq!(server.query("SELECT count(*) FROM o").unwrap().rows, [["0"]]);
}

#[test]
fn rows_are_changed_past_sql_and_keys_are_kept() {
    let mut server = Server::new(2);
    server.run("CREATE TABLE t (id bigint PRIMARY KEY, s text)");
    server.run("CREATE MATERIALIZED VIEW v AS SELECT s, count(*) AS c FROM t GROUP BY s");
    let rows = |ids: &[i64]| {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("s", DataType::Utf8, true),
        ]);
        let texts = ids.iter().map(|id| (id % 2 == 0).then_some("even"));
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(ids.to_vec())), Arc::new(StringArray::from_iter(texts))];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    };
    let engine = &mut server.database.engine;
    engine.change("t", rows(&[1, 2, 3, 4]), Run::Constant(1)).unwrap();
    engine.change("t", rows(&[4, 5, 6]), Run::from_vec(vec![-1, 1, 1])).unwrap();
    assert!(engine.change("t", rows(&[7, 6]), Run::Constant(1)).is_err());
    engine.close(0).unwrap();
    assert_eq!(server.query("SELECT * FROM v").unwrap().sorted(), ["NULL | 3", "even | 2"]);
    assert!(server.refusal("INSERT INTO t VALUES (5, 'x')").starts_with("duplicate key"));
    server.run("INSERT INTO t VALUES (7, 'x')");
}

#[test]
fn what_tables_do_not_have_is_refused() {
    check(
        &mut Server::new(1),
        &[
            "CREATE TABLE logs (a int)",
            "CREATE TABLE t ()",
            "CREATE TABLE t (a int, PRIMARY KEY (b))",
            "CREATE TABLE t (a int PRIMARY KEY, b int PRIMARY KEY)",
            "CREATE TABLE t (a int PRIMARY KEY) WITH (append_only = true)",
            "CREATE TABLE t (a int) WITH (speed = 'fast')",
            "CREATE TABLE t (a serial)",
            "CREATE TABLE t (a int UNIQUE)",
            "CREATE TABLE t (a int CHECK (a > 0))",
            "CREATE TABLE t (a int REFERENCES u (b))",
            "CREATE TABLE t (a int DEFAULT b)",
            "CREATE TABLE t (a int DEFAULT date '2026-01-01')",
            "CREATE TEMPORARY TABLE t (a int)",
            "CREATE TABLE t (a point)",
            "CREATE TABLE t (a int)",
            "CREATE TABLE IF NOT EXISTS t (b text)",
            "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
            "INSERT INTO t VALUES (date '2026-01-01')",
            "UPDATE t SET b = 1",
            "DELETE FROM t LIMIT 1",
            "DROP TABLE t CASCADE",
            "DROP TABLE spans",
            "DROP VIEW t",
            "TRUNCATE spans",
            "CREATE TABLE c AS SELECT * FROM (VALUES (1, 'x'), (2, 'y')) AS v (n, s)",
            "SELECT * FROM c",
            "SHOW COLUMNS FROM c",
        ],
        expect![[r#"
            CREATE TABLE logs (a int)
                error: relation "logs" already exists; use CREATE OR REPLACE, or drop it first
            CREATE TABLE t ()
                error: a table has at least one column
            CREATE TABLE t (a int, PRIMARY KEY (b))
                error: column "b" of PRIMARY KEY does not exist
            CREATE TABLE t (a int PRIMARY KEY, b int PRIMARY KEY)
                error: a table has one PRIMARY KEY at most
            CREATE TABLE t (a int PRIMARY KEY) WITH (append_only = true)
                error: option append_only = "true": a table with PRIMARY KEY remembers all keys and cannot let old rows go
            CREATE TABLE t (a int) WITH (speed = 'fast')
                error: option speed = "fast": a table takes append_only = true or false
            CREATE TABLE t (a serial)
                error: the type serial is not supported: nothing counts here; use bigint, or DEFAULT uuid()
            CREATE TABLE t (a int UNIQUE)
                error: UNIQUE is not supported; a column takes NOT NULL, DEFAULT and PRIMARY KEY
            CREATE TABLE t (a int CHECK (a > 0))
                error: CHECK (a > 0) is not supported; a column takes NOT NULL, DEFAULT and PRIMARY KEY
            CREATE TABLE t (a int REFERENCES u (b))
                error: REFERENCES u (b) is not supported; a column takes NOT NULL, DEFAULT and PRIMARY KEY
            CREATE TABLE t (a int DEFAULT b)
                error: Schema error: No field named b.
            CREATE TABLE t (a int DEFAULT date '2026-01-01')
                CREATE TABLE
            CREATE TEMPORARY TABLE t (a int)
                error: CREATE TEMPORARY TABLE is not supported
            CREATE TABLE t (a point)
                error: relation "t" already exists; use CREATE OR REPLACE, or drop it first
            CREATE TABLE t (a int)
                error: relation "t" already exists; use CREATE OR REPLACE, or drop it first
            CREATE TABLE IF NOT EXISTS t (b text)
                CREATE TABLE
            INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING
                error: there is no primary key of "t" that matches ON CONFLICT
            INSERT INTO t VALUES (date '2026-01-01')
                INSERT 0 1
            UPDATE t SET b = 1
                error: column "b" of relation "t" does not exist
            DELETE FROM t LIMIT 1
                error: DELETE with LIMIT, ORDER BY or JOIN is not supported
            DROP TABLE t CASCADE
                error: DROP TABLE ... CASCADE is not supported; drop the views that read it first
            DROP TABLE spans
                error: "spans" is not a table that was created
            DROP VIEW t
                error: view "t" does not exist
            TRUNCATE spans
                error: cannot change rows of "spans": it is a stream, and only those of tables that CREATE TABLE made can be changed
            CREATE TABLE c AS SELECT * FROM (VALUES (1, 'x'), (2, 'y')) AS v (n, s)
                SELECT 2
            SELECT * FROM c
                1 | x
                2 | y
            SHOW COLUMNS FROM c
                n | Int64 | true
                s | Utf8 | true
        "#]],
    );
}
