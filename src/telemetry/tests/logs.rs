use expect_test::expect;

use super::{check, check_errors, logs_request};

#[test]
fn all_of_a_log_record() {
    check(
        r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}},
            {"key":"host.name","value":{"stringValue":"node-3"}}]},
            "scopeLogs":[{"scope":{"name":"lib"},"logRecords":[{
                "timeUnixNano":"1700000000000000000","observedTimeUnixNano":"1700000000000000009",
                "severityNumber":17,"severityText":"ERROR","eventName":"device.crash",
                "body":{"stringValue":"disk \"sda\" full"},"traceId":"4bf92f3577b34da6a3ce929d0e0e4736",
                "spanId":"00f067aa0ba902b7","flags":1,
                "attributes":[{"key":"thread","value":{"intValue":7}}]}]}]}]}"#,
        expect![[r#"
            logs
              ts: 2023-11-14T22:13:20Z
              observed_at: 2023-11-14T22:13:20.000000009Z
              severity_number: 17
              severity_text: ERROR
              body: disk "sda" full
              event_name: device.crash
              trace_id: 4bf92f3577b34da6a3ce929d0e0e4736
              span_id: 00f067aa0ba902b7
              service_name: cart
              attributes: {thread: 7}
              resource_attributes: {service.name: cart, host.name: node-3}
              scope_name: lib
        "#]],
    );
}

#[test]
fn bodies_that_are_not_text() {
    let bodies = [
        r#"{"kvlistValue":{"values":[{"key":"msg","value":{"stringValue":"a\"b"}},{"key":"n","value":{"intValue":1}}]}}"#,
        r#"{"intValue":"5"}"#,
        r#"{"arrayValue":{}}"#,
        r#"{"stringValue":""}"#,
        "{}",
        "null",
    ];
    let records = bodies.map(|body| format!(r#"{{"timeUnixNano":1700000000000000000,"body":{body}}}"#));
    check(
        &logs_request(&records.join(",")),
        expect![[r#"
        logs
          ts: 2023-11-14T22:13:20Z
          body: {"msg":"a\"b","n":1}
        logs
          ts: 2023-11-14T22:13:20Z
          body: 5
        logs
          ts: 2023-11-14T22:13:20Z
          body: []
        logs
          ts: 2023-11-14T22:13:20Z
          body: 
        logs
          ts: 2023-11-14T22:13:20Z
        logs
          ts: 2023-11-14T22:13:20Z
    "#]],
    );
}

#[test]
fn a_log_record_without_a_time_goes_by_its_observation() {
    check(
        &logs_request(
            r#"{"observedTimeUnixNano":"1700000000000000009","traceId":"","spanId":"0000000000000000"}"#,
        ),
        expect![[r#"
            logs
              ts: 2023-11-14T22:13:20.000000009Z
              observed_at: 2023-11-14T22:13:20.000000009Z
        "#]],
    );
}

#[test]
fn wrong_log_records() {
    let records = [
        r#"{}"#,
        r#"{"timeUnixNano":"-6795364578871345152"}"#,
        r#"{"timeUnixNano":"1700000000000000000","observedTimeUnixNano":"-1"}"#,
        r#"{"timeUnixNano":"1700000000000000000","severityNumber":"SEVERITY_NUMBER_ERROR"}"#,
        r#"{"timeUnixNano":"1700000000000000000","severityNumber":4294967296}"#,
        r#"{"timeUnixNano":"1700000000000000000","traceId":"abc"}"#,
        r#"{"timeUnixNano":"1700000000000000000","body":"text"}"#,
        r#"{"timeUnixNano":"1700000000000000000","body":{"stringValue":"lost"},"spanId":"xyz"}"#,
        r#"{"timeUnixNano":"1700000000000000000","body":{"stringValue":"kept"}}"#,
    ];
    check_errors(
        &logs_request(&records.join(",")),
        expect![[r#"
        1 accepted, 8 rejected
        log: log record: ts is missing
        log: log record: ts -6795364578871345152 is negative, nanoseconds since 1970 expected
        log: log record: observed_at -1 is negative, nanoseconds since 1970 expected
        log: log record: severityNumber is the string "SEVERITY_NUMBER_ERROR", an integer expected. OTLP JSON writes enums as integers, not as names.
        log: log record: severity number 4294967296 is outside -2147483648 to 2147483647
        log: log record: trace id "abc" has 3 hex digits, 32 expected
        log: log record: value of an attribute or body is the string "text", an object expected
        log: log record: span id "xyz" holds 'x', 16 hex digits expected
    "#]],
    );
    check(
        &logs_request(&records[7..].join(",")),
        expect![[r#"
        logs
          ts: 2023-11-14T22:13:20Z
          body: kept
        ingest_errors
          kind: log
          reason: log record: span id "xyz" holds 'x', 16 hex digits expected
    "#]],
    );
}
