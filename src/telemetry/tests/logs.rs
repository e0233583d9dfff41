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
        expect![],
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
    check(&logs_request(&records.join(",")), expect![]);
}

#[test]
fn a_log_record_without_a_time_goes_by_its_observation() {
    check(
        &logs_request(
            r#"{"observedTimeUnixNano":"1700000000000000009","traceId":"","spanId":"0000000000000000"}"#,
        ),
        expect![],
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
    check_errors(&logs_request(&records.join(",")), expect![]);
    check(&logs_request(&records[7..].join(",")), expect![]);
}
