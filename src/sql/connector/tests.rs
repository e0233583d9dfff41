use crate::sql::statement::{Statement, parse};

fn error(sql: &str) -> String {
    parse(sql).expect_err(sql).to_string()
}

#[test]
fn options_are_checked_by_name() {
    for (sql, expected) in [
        (
            "CREATE SOURCE s FROM KAFKA (brokers 'a:1', topc 't') FORMAT OTLP_PROTO",
            "option topc = \"t\": a source of Kafka takes brokers, topic, group, partitions, start, event_time, and \
             properties of its client, which have a dot",
        ),
        (
            "CREATE SOURCE s FROM KAFKA (brokers = 'a:1') FORMAT OTLP_PROTO",
            "a source of Kafka needs the option topic",
        ),
        (
            "CREATE SOURCE s FROM KAFKA (brokers = 'a:1', topic = 't', group.id = 'g') FORMAT OTLP_PROTO",
            "option group.id = \"g\": it is the option group",
        ),
        (
            "CREATE SOURCE s FROM KAFKA (brokers = 'a:1', topic = 't', topic = 'u') FORMAT OTLP_PROTO",
            "option topic = \"u\": it is there twice",
        ),
        (
            "CREATE SOURCE s FROM KAFKA (brokers = 'a:1', topic = 't') FORMAT XML",
            "option FORMAT = \"xml\": one of OTLP_PROTO, OTLP_JSON, JSON, AVRO is expected",
        ),
        (
            "CREATE SOURCE s FROM KAFKA (brokers = 'a:1', topic = 't') FORMAT JSON",
            "FORMAT JSON needs columns: CREATE SOURCE name (column type, ...) FROM KAFKA ...",
        ),
        (
            "CREATE SOURCE s (a int) FROM KAFKA (brokers = 'a:1', topic = 't') FORMAT OTLP_JSON",
            "FORMAT OTLP_JSON has columns of its own: it fills spans, metrics and logs",
        ),
        (
            "CREATE SOURCE s FROM KAFKA (brokers = 'a:1', topic = 't', partitions = '1, x') FORMAT OTLP_JSON",
            "option partitions = \"1, x\": numbers, separated by commas, are expected",
        ),
        (
            "CREATE SOURCE s (a int) FROM KAFKA (brokers = 'a:1', topic = 't', event_time = 'b') FORMAT JSON",
            "option event_time = \"b\": a column of the source, a timestamp, is expected",
        ),
        (
            "CREATE SINK k FROM v INTO KAFKA (brokers = 'a:1', topic = 't') ENVELOPE UPSERT",
            "ENVELOPE UPSERT needs KEY (columns)",
        ),
        (
            "CREATE SINK k FROM v INTO PIGEON (coop = '7')",
            "option INTO = \"pigeon\": one of KAFKA, WEBHOOK, FILE is expected",
        ),
        (
            "CREATE SOURCE s FROM KAFKA (brokers = 'a:1', topic = 't', schema.registry.url = 'http://r') FORMAT AVRO",
            "FORMAT AVRO needs columns: CREATE SOURCE name (column type, ...) FROM KAFKA ...",
        ),
        (
            "CREATE SOURCE s (a int) FROM KAFKA (brokers = 'a:1', topic = 't') FORMAT AVRO",
            "FORMAT AVRO needs the option schema.registry.url",
        ),
        (
            "CREATE SOURCE s (a int NOT NULL DEFAULT 1) FROM KAFKA (brokers = 'a:1', topic = 't', schema.registry.url = 'http://r') FORMAT AVRO",
            "column \"a\": FORMAT AVRO takes no DEFAULT",
        ),
        (
            "CREATE SOURCE s (a int) FROM KAFKA (brokers = 'a:1', topic = 't', schema.registry.url = 'http://r') FORMAT JSON",
            "option schema.registry.url = \"http://r\": it is for FORMAT AVRO",
        ),
        (
            "CREATE SOURCE s (a int) FROM KAFKA (brokers = 'a:1', topic = 't', schema.registry.url = 'r:8081') FORMAT AVRO",
            "option schema.registry.url = \"r:8081\": an address such as https://example.com:8081 is expected",
        ),
        (
            "CREATE SOURCE s (a int) FROM KAFKA (brokers = 'a:1', topic = 't', schema.registry.url = 'http://u:p@r') FORMAT AVRO",
            "option schema.registry.url = \"***\": who asks is said by schema.registry.basic.auth.user.info = 'user:password'",
        ),
        (
            "CREATE SINK k FROM v INTO KAFKA (brokers = 'a:1', topic = 't', schema.registry.uri = 'r') FORMAT AVRO",
            "option schema.registry.uri = \"r\": a schema registry takes schema.registry.url, \
             schema.registry.basic.auth.user.info",
        ),
        (
            "CREATE SINK k FROM v INTO FILE (path = 'f') FORMAT AVRO",
            "FORMAT AVRO is for KAFKA; FILE takes JSON",
        ),
        (
            "CREATE SINK k FROM v INTO FILE (path = 'f') FORMAT OTLP_JSON",
            "option FORMAT = \"otlp_json\": one of JSON, AVRO is expected",
        ),
        ("ALTER SINK k STOP", "ALTER SINK takes PAUSE or RESUME, not \"stop\""),
    ] {
        assert_eq!(error(sql), expected, "{sql}");
    }
}

#[test]
fn secrets_are_not_shown_and_are_kept() {
    let sql = "CREATE SOURCE s (a int) FROM KAFKA (brokers = 'a:1', topic = 't', sasl.password = 'hunter2', \
               ssl.key.password = '${KEY}', schema.registry.url = 'http://r', schema.registry.basic.auth.user.info = 'u:hunter2') \
               FORMAT AVRO";
    let Statement::CreateSource(source) = parse(sql).unwrap().remove(0) else { panic!("no source") };
    let shown = source.options.text(true);
    assert!(!shown.contains("hunter2") && shown.contains("\"sasl.password\" = '***'"), "{shown}");
    assert!(shown.contains("${KEY}"), "{shown}");
    assert!(Statement::CreateSource(source).definition().unwrap().contains("hunter2"));
}

#[test]
fn a_sink_keeps_the_identity_that_it_was_given() {
    let sql = "CREATE SINK k FROM v INTO KAFKA (brokers = 'a:1', topic = 't')";
    let texts: Vec<String> = (0..2).map(|_| parse(sql).unwrap()[0].definition().unwrap()).collect();
    assert_ne!(texts[0], texts[1]);
    assert_eq!(parse(&texts[0]).unwrap()[0].definition().unwrap(), texts[0]);
}
