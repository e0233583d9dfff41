//! Values on their way to a client: as text and as binary.

use chrono::{DateTime, NaiveDate, Utc};
use expect_test::expect;
use serde_json::json;
use tokio_postgres::types::{FromSql, Type};

use super::{connect, rows_become, simple, span};
use crate::in_process::InProcess;

/// The raw bytes of a value, whatever its type.
struct Raw(Vec<u8>);

impl FromSql<'_> for Raw {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

#[test]
fn every_type_has_its_text() {
    let running = InProcess::start(&[]);
    let cases = [
        "true",
        "1::smallint",
        "(-2147483648)::int",
        "9223372036854775807",
        "arrow_cast(7, 'Int8')",
        "arrow_cast(255, 'UInt8')",
        "arrow_cast(4294967295, 'UInt32')",
        "arrow_cast(18446744073709551615, 'UInt64')",
        "1.5::real",
        "0.1::double",
        "1e300",
        "'NaN'::double",
        "12.340::decimal(10, 3)",
        "'it''s'",
        "x'0aff'",
        "DATE '2026-02-28'",
        "TIME '12:34:56.789'",
        "TIMESTAMP '2026-01-01T00:00:00.123456789'",
        "timestamptz '2026-01-01T02:00:00+02:00'",
        "INTERVAL '1 day 2 hours'",
        "arrow_cast(1500, 'Duration(Millisecond)')",
        "[1, NULL, 3]",
        "['a', 'b c']",
        "map(['a', 'b'], ['1', NULL])",
        "named_struct('x', 1, 'y', [1, 2])",
        "[named_struct('x', 1)]",
        "arrow_cast('d', 'Dictionary(Int32, Utf8)')",
        "arrow_cast('v', 'Utf8View')",
        "NULL",
        "NULL::interval",
        "arrow_cast(NULL, 'Dictionary(Int32, Utf8)')",
    ];
    let text = running.wait(async {
        let client = connect(&running).await;
        let mut text = String::new();
        for case in cases {
            let prepared = client.prepare(&format!("SELECT {case} AS c")).await;
            let line = match prepared {
                Ok(statement) => {
                    let row = simple(&client, &format!("SELECT {case}")).await.expect("a row")[0][0].clone();
                    // The binary form is asked for too: it must at least be there exactly when the text is.
                    let binary: Option<Raw> = client.query_one(&statement, &[]).await.expect("a row").get(0);
                    assert_eq!(binary.map(|raw| raw.0.len()).is_some(), row.is_some(), "{case}");
                    let pg_type = statement.columns()[0].type_().name().to_owned();
                    format!("{pg_type} {}", row.unwrap_or_else(|| "NULL".to_owned()))
                }
                Err(error) => error.as_db_error().expect("an answer").message().to_owned(),
            };
            text += &format!("{case}: {line}\n");
        }
        text
    });
    expect![[r#"
        true: bool t
        1::smallint: int2 1
        (-2147483648)::int: int4 -2147483648
        9223372036854775807: int8 9223372036854775807
        arrow_cast(7, 'Int8'): int2 7
        arrow_cast(255, 'UInt8'): int2 255
        arrow_cast(4294967295, 'UInt32'): int8 4294967295
        arrow_cast(18446744073709551615, 'UInt64'): numeric 18446744073709551615
        1.5::real: float4 1.5
        0.1::double: float8 0.1
        1e300: float8 1e300
        'NaN'::double: float8 NaN
        12.340::decimal(10, 3): numeric 12.340
        'it''s': text it's
        x'0aff': bytea \x0aff
        DATE '2026-02-28': date 2026-02-28
        TIME '12:34:56.789': time 12:34:56.789000
        TIMESTAMP '2026-01-01T00:00:00.123456789': timestamp 2026-01-01 00:00:00.123456
        timestamptz '2026-01-01T02:00:00+02:00': timestamptz 2026-01-01 00:00:00.000000+00
        INTERVAL '1 day 2 hours': interval 1 day 02:00:00
        arrow_cast(1500, 'Duration(Millisecond)'): interval 00:00:01.500000
        [1, NULL, 3]: _int8 {1,NULL,3}
        ['a', 'b c']: _text {a,"b c"}
        map(['a', 'b'], ['1', NULL]): json {"a":"1","b":null}
        named_struct('x', 1, 'y', [1, 2]): json {"x":1,"y":[1,2]}
        [named_struct('x', 1)]: json [{"x":1}]
        arrow_cast('d', 'Dictionary(Int32, Utf8)'): text d
        arrow_cast('v', 'Utf8View'): text v
        NULL: text NULL
        NULL::interval: interval NULL
        arrow_cast(NULL, 'Dictionary(Int32, Utf8)'): text NULL
    "#]]
    .assert_eq(&text);
}

#[test]
fn values_survive_the_binary_form() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let client = connect(&running).await;
        let sql =
            "SELECT $1::bigint, $2::double, $3::text, $4::boolean, $5::timestamptz, $6::date, $7::smallint";
        let moment: DateTime<Utc> = "2026-01-01T12:34:56.123456Z".parse().unwrap();
        let date = NaiveDate::from_ymd_opt(1969, 12, 31).unwrap();
        let row = client
            .query_one(sql, &[&i64::MIN, &-0.5f64, &"ä", &false, &moment, &date, &i16::MAX])
            .await
            .expect("a row");
        assert_eq!(row.get::<_, i64>(0), i64::MIN);
        assert_eq!(row.get::<_, f64>(1), -0.5);
        assert_eq!(row.get::<_, &str>(2), "ä");
        assert!(!row.get::<_, bool>(3));
        assert_eq!(row.get::<_, DateTime<Utc>>(4), moment);
        assert_eq!(row.get::<_, NaiveDate>(5), date);
        assert_eq!(row.get::<_, i16>(6), i16::MAX);
        let none: Option<i64> = None;
        let row = client.query_one("SELECT $1::bigint IS NULL, $1::bigint", &[&none]).await.expect("a row");
        assert!(row.get::<_, bool>(0));
        assert_eq!(row.get::<_, Option<i64>>(1), None);
        let row = client.query_one("SELECT [1, 2], ['a', NULL], x'00ff'", &[]).await.expect("a row");
        assert_eq!(row.get::<_, Vec<i64>>(0), [1, 2]);
        assert_eq!(row.get::<_, Vec<Option<&str>>>(1), [Some("a"), None]);
        assert_eq!(row.get::<_, &[u8]>(2), [0, 255]);
    });
}

#[test]
fn rows_of_telemetry_have_their_columns() {
    let running = InProcess::start(&[]);
    running.append("spans", &[span("cart", 1)]);
    running.append(
        "metrics",
        &[json!({"name": "latency", "type": "histogram", "ts": "2026-01-01T00:00:00Z", "bucket_counts": [1, 2],
            "explicit_bounds": [0.5], "quantiles": [{"quantile": 0.5, "value": 1.5}]})],
    );
    running.wait(async {
        let client = connect(&running).await;
        rows_become(&client, "SELECT 1 FROM spans", 1).await;
        rows_become(&client, "SELECT 1 FROM metrics", 1).await;
        let sql = "SELECT started_at, attributes, attributes['http.route'], parent_span_id FROM spans";
        let row = client.query_one(sql, &[]).await.expect("a row");
        let started: DateTime<Utc> = row.get(0);
        // Nanoseconds are cut off.
        assert_eq!(started, "2026-01-01T00:00:01.123456Z".parse::<DateTime<Utc>>().unwrap());
        assert_eq!(*row.columns()[1].type_(), Type::JSON);
        assert_eq!(row.get::<_, Raw>(1).0, br#"{"http.route":"/cart"}"#);
        assert_eq!(row.get::<_, &str>(2), "/cart");
        assert_eq!(row.get::<_, Option<&str>>(3), None);
        let row =
            client.query_one("SELECT bucket_counts, explicit_bounds, quantiles FROM metrics", &[]).await;
        let row = row.expect("a row");
        assert_eq!(row.get::<_, Vec<i64>>(0), [1, 2]);
        assert_eq!(row.get::<_, Vec<f64>>(1), [0.5]);
        assert_eq!(row.get::<_, Raw>(2).0, br#"[{"quantile":0.5,"value":1.5}]"#);
        let every = client.query("SELECT * FROM spans", &[]).await.expect("rows");
        assert_eq!(every[0].len(), 16);
    });
}

#[test]
fn members_of_json_are_text() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let client = connect(&running).await;
        let body = r#"{"user":{"id":7},"n":"5"}"#;
        let sql =
            "SELECT $1::text -> 'user' AS user, $1::text ->> 'n' AS n, ($1::jsonb ->> 'n')::bigint AS number";
        let row = client.query_one(sql, &[&body]).await.expect("a row");
        assert_eq!(row.get::<_, String>("user"), r#"{"id":7}"#);
        assert_eq!((row.get::<_, String>("n"), row.get::<_, i64>("number")), ("5".to_owned(), 5));
    });
}
