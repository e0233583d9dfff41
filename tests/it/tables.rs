//! Tables of users: statements that create, fill and change them, and views over them.

use expect_test::{Expect, expect};

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
