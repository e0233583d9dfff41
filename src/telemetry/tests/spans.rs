use expect_test::expect;

use super::{check, check_errors, span, spans_request};

#[test]
fn all_of_a_span() {
    let span = r#"{"traceId":"4BF92F3577B34DA6A3CE929D0E0E4736","spanId":"00F067AA0BA902B7",
        "parentSpanId":"00f067aa0ba902b6","traceState":"a=b","flags":257,
        "name":"GET \"/cart\"\u0041\ud83d\ude00","kind":2,
        "startTimeUnixNano":1700000000000000000,"endTimeUnixNano":"1700000000012000000",
        "attributes":[
            {"key":"string","value":{"stringValue":"a\nb"}},
            {"key":"int","value":{"intValue":"-7"}},
            {"key":"double","value":{"doubleValue":0.5}},
            {"key":"nan","value":{"doubleValue":"NaN"}},
            {"key":"bool","value":{"boolValue":true}},
            {"key":"bytes","value":{"bytesValue":"-_8"}},
            {"key":"array","value":{"arrayValue":{"values":[{"intValue":1},{"stringValue":"x\""},{},{"doubleValue":"-Infinity"}]}}},
            {"key":"list","value":{"kvlistValue":{"values":[{"value":{"boolValue":false},"key":"k"},{"key":"n"}]}}},
            {"key":"empty","value":{"stringValue":""}},
            {"key":"none","value":{}},
            {"key":"absent"}],
        "droppedAttributesCount":3,
        "status":{"code":2,"message":"boom"},
        "someFutureField":{"a":[1,2,{"b":null}]},
        "links":[{"traceId":"11111111111111111111111111111111","spanId":"2222222222222222",
            "attributes":[{"key":"why","value":{"stringValue":"batch"}}]}],
        "events":[{"timeUnixNano":"1700000000005000000","name":"exception",
            "attributes":[{"key":"exception.type","value":{"stringValue":"E"}}]}]}"#;
    check(
        &spans_request(span),
        expect![[r#"
        spans
          trace_id: 4bf92f3577b34da6a3ce929d0e0e4736
          span_id: 00f067aa0ba902b7
          parent_span_id: 00f067aa0ba902b6
          trace_state: a=b
          service_name: cart
          name: GET "/cart"A😀
          kind: SERVER
          started_at: 2023-11-14T22:13:20Z
          ended_at: 2023-11-14T22:13:20.012Z
          duration_ns: 12000000
          status_code: ERROR
          status_message: boom
          scope_name: lib
          scope_version: 1.2
          attributes: {string: a
        b, int: -7, double: 0.5, nan: NaN, bool: true, bytes: +/8=, array: [1,"x\"",null,"-Infinity"], list: {"k":false,"n":null}, empty: , none: null, absent: null}
          resource_attributes: {service.name: cart}
        span_links
          trace_id: 4bf92f3577b34da6a3ce929d0e0e4736
          span_id: 00f067aa0ba902b7
          linked_trace_id: 11111111111111111111111111111111
          linked_span_id: 2222222222222222
          service_name: cart
          started_at: 2023-11-14T22:13:20Z
          attributes: {why: batch}
        span_events
          trace_id: 4bf92f3577b34da6a3ce929d0e0e4736
          span_id: 00f067aa0ba902b7
          service_name: cart
          name: exception
          ts: 2023-11-14T22:13:20.005Z
          attributes: {exception.type: E}
    "#]],
    );
}

#[test]
fn the_least_of_a_span() {
    check(
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736",
            "spanId":"00f067aa0ba902b7","parentSpanId":"","name":"x","status":null,"attributes":null,
            "startTimeUnixNano":"946684800000000000","endTimeUnixNano":"946684800000000000"}]}]}]}"#,
        expect![[r#"
            spans
              trace_id: 4bf92f3577b34da6a3ce929d0e0e4736
              span_id: 00f067aa0ba902b7
              name: x
              kind: UNSPECIFIED
              started_at: 2000-01-01T00:00:00Z
              ended_at: 2000-01-01T00:00:00Z
              duration_ns: 0
              status_code: UNSET
        "#]],
    );
}

#[test]
fn fields_in_any_order() {
    check(
        r#"{"resourceSpans":[{
            "scopeSpans":[{
                "spans":[{"events":[{"name":"e","timeUnixNano":"1700000000000000001"}],"name":"x",
                    "endTimeUnixNano":"1700000000000000002","startTimeUnixNano":"1700000000000000000",
                    "spanId":"00f067aa0ba902b7","traceId":"4bf92f3577b34da6a3ce929d0e0e4736"}],
                "scope":{"version":"2","name":"late"}}],
            "resource":{"attributes":[{"value":{"stringValue":"cart"},"key":"service.name"}]}}]}"#,
        expect![[r#"
            spans
              trace_id: 4bf92f3577b34da6a3ce929d0e0e4736
              span_id: 00f067aa0ba902b7
              service_name: cart
              name: x
              kind: UNSPECIFIED
              started_at: 2023-11-14T22:13:20Z
              ended_at: 2023-11-14T22:13:20.000000002Z
              duration_ns: 2
              status_code: UNSET
              scope_name: late
              scope_version: 2
              resource_attributes: {service.name: cart}
            span_events
              trace_id: 4bf92f3577b34da6a3ce929d0e0e4736
              span_id: 00f067aa0ba902b7
              service_name: cart
              name: e
              ts: 2023-11-14T22:13:20.000000001Z
        "#]],
    );
}

#[test]
fn an_all_zero_parent_is_a_root() {
    check_errors(
        &spans_request(&span(r#""parentSpanId":"0000000000000000""#)),
        expect![[r#"
        1 accepted, 0 rejected
    "#]],
    );
}

#[test]
fn wrong_ids() {
    let spans = [
        span(r#""traceId":"abc""#),
        span(r#""traceId":"00000000000000000000000000000000""#),
        span(r#""traceId":"4bf92f3577b34da6a3ce929d0e0e473g""#),
        span(r#""traceId":"S/kvNXezTaajzpKdDg5HNg==""#),
        span(r#""spanId":"""#),
        span(r#""spanId":"0000000000000000""#),
        span(r#""parentSpanId":"12""#),
        span(r#""traceId":5"#),
        span(""),
    ];
    check_errors(
        &spans_request(&spans.join(",")),
        expect![[r#"
            1 accepted, 8 rejected
            span: span "00f067aa0ba902b7": trace id "abc" has 3 hex digits, 32 expected
            span: span "00f067aa0ba902b7": trace id "00000000000000000000000000000000" is all zero
            span: span "00f067aa0ba902b7": trace id "4bf92f3577b34da6a3ce929d0e0e473g" holds 'g', 32 hex digits expected
            span: span "00f067aa0ba902b7": trace id "S/kvNXezTaajzpKdDg5HNg==" holds 'S', 32 hex digits expected. This looks like base64; OTLP JSON writes ids in hex.
            span: span of name "GET /cart": span id is missing
            span: span of name "GET /cart": span id "0000000000000000" is all zero
            span: span "00f067aa0ba902b7": parent span id "12" has 2 hex digits, 16 expected
            span: span "00f067aa0ba902b7": traceId is the number 5, a string expected
        "#]],
    );
}

#[test]
fn wrong_times() {
    let spans = [
        span(r#""endTimeUnixNano":"1699999999988000000""#),
        span(r#""endTimeUnixNano":0"#),
        span(r#""startTimeUnixNano":"0""#),
        span(r#""startTimeUnixNano":"1700000000""#),
        span(r#""startTimeUnixNano":"1700000000000""#),
        span(r#""startTimeUnixNano":"1700000000000000""#),
        span(r#""startTimeUnixNano":"1700086400000000001","endTimeUnixNano":"1700086400000000001""#),
        span(r#""startTimeUnixNano":"1700086400000000000","endTimeUnixNano":"1700086400000000000""#),
        span(r#""startTimeUnixNano":"946684799999999999""#),
        span(r#""startTimeUnixNano":"-5""#),
        span(r#""endTimeUnixNano":"-5""#),
        span(r#""endTimeUnixNano":"9223372036854775808""#),
        span(r#""endTimeUnixNano":"9223372036854775807""#),
        span(r#""startTimeUnixNano":"18446744073709551616""#),
        span(r#""startTimeUnixNano":"yesterday""#),
        span(r#""startTimeUnixNano":1.7e18"#),
        span(r#""startTimeUnixNano":"""#),
    ];
    check_errors(
        &spans_request(&spans.join(",")),
        expect![[r#"
            1 accepted, 16 rejected
            span: span "00f067aa0ba902b7": ends 12 ms before it starts (started_at 2023-11-14T22:13:20Z, ended_at 2023-11-14T22:13:19.988Z)
            span: span "00f067aa0ba902b7": ended_at is missing
            span: span "00f067aa0ba902b7": started_at is missing
            span: span "00f067aa0ba902b7": started_at 1970-01-01T00:00:01.7Z is outside 2000-01-01T00:00:00Z to 2023-11-15T22:13:20Z. It would fit as seconds; nanoseconds are expected.
            span: span "00f067aa0ba902b7": started_at 1970-01-01T00:28:20Z is outside 2000-01-01T00:00:00Z to 2023-11-15T22:13:20Z. It would fit as milliseconds; nanoseconds are expected.
            span: span "00f067aa0ba902b7": started_at 1970-01-20T16:13:20Z is outside 2000-01-01T00:00:00Z to 2023-11-15T22:13:20Z. It would fit as microseconds; nanoseconds are expected.
            span: span "00f067aa0ba902b7": started_at 2023-11-15T22:13:20.000000001Z is outside 2000-01-01T00:00:00Z to 2023-11-15T22:13:20Z. Check the clock of the sender.
            span: span "00f067aa0ba902b7": started_at 1999-12-31T23:59:59.999999999Z is outside 2000-01-01T00:00:00Z to 2023-11-15T22:13:20Z
            span: span "00f067aa0ba902b7": started_at -5 is negative, nanoseconds since 1970 expected
            span: span "00f067aa0ba902b7": ended_at -5 is negative, nanoseconds since 1970 expected
            span: span "00f067aa0ba902b7": ended_at 9223372036854775808 is beyond 9223372036854775807, the last nanosecond that can be told
            span: span "00f067aa0ba902b7": ended_at 2262-04-11T23:47:16.854775807Z is outside 2000-01-01T00:00:00Z to 2023-11-15T22:13:20Z. Check the clock of the sender.
            span: span "00f067aa0ba902b7": started_at 18446744073709551616 is beyond 9223372036854775807, the last nanosecond that can be told
            span: span "00f067aa0ba902b7": startTimeUnixNano is the string "yesterday", an integer expected
            span: span "00f067aa0ba902b7": startTimeUnixNano is the number 1.7e18, an integer expected
            span: span "00f067aa0ba902b7": startTimeUnixNano is the string "", an integer expected
        "#]],
    );
}

#[test]
fn wrong_names_enums_and_types() {
    let spans = [
        span(r#""name":"""#),
        span(r#""name":7"#),
        span(r#""kind":"SPAN_KIND_SERVER""#),
        span(r#""kind":6"#),
        span(r#""kind":-1"#),
        span(r#""kind":[]"#),
        span(r#""status":{"code":"STATUS_CODE_OK"}"#),
        span(r#""status":{"code":3}"#),
        span(r#""status":true"#),
        span(r#""attributes":{}"#),
        span(r#""attributes":[{"key":1}]"#),
        span(r#""attributes":[{"key":"k","value":"v"}]"#),
        span(r#""attributes":[{"key":"k","value":{"intValue":"9223372036854775808"}}]"#),
        span(r#""attributes":[{"key":"k","value":{"boolValue":"true"}}]"#),
        span(r#""attributes":[{"key":"k","value":{"bytesValue":"!"}}]"#),
        span(r#""attributes":[{"key":"k","value":{"doubleValue":"inf"}}]"#),
        "5".to_owned(),
        "null".to_owned(),
        span(""),
    ];
    check_errors(
        &spans_request(&spans.join(",")),
        expect![[r#"
        1 accepted, 18 rejected
        span: span "00f067aa0ba902b7": name is missing
        span: span "00f067aa0ba902b7": name is the number 7, a string expected
        span: span "00f067aa0ba902b7": kind is the string "SPAN_KIND_SERVER", an integer expected. OTLP JSON writes enums as integers, not as names.
        span: span "00f067aa0ba902b7": kind 6 is outside 0 to 5
        span: span "00f067aa0ba902b7": kind -1 is outside 0 to 5
        span: span "00f067aa0ba902b7": kind is an array, an integer expected
        span: span "00f067aa0ba902b7": status code is the string "STATUS_CODE_OK", an integer expected. OTLP JSON writes enums as integers, not as names.
        span: span "00f067aa0ba902b7": status code 3 is outside 0 to 2
        span: span "00f067aa0ba902b7": status is a boolean, an object expected
        span: span "00f067aa0ba902b7": attributes is an object, an array expected
        span: span "00f067aa0ba902b7": attribute key is the number 1, a string expected
        span: span "00f067aa0ba902b7": value of an attribute or body is the string "v", an object expected
        span: span "00f067aa0ba902b7": intValue 9223372036854775808 is outside -9223372036854775808 to 9223372036854775807
        span: span "00f067aa0ba902b7": boolValue is the string "true", true or false expected
        span: span "00f067aa0ba902b7": bytesValue is not base64
        span: span "00f067aa0ba902b7": doubleValue is the string "inf", a number expected
        span: span: span is the number 5, an object expected
        span: span: span is null, an object expected
    "#]],
    );
}

#[test]
fn attributes_of_a_rejected_span_do_not_reach_the_next() {
    let wrong = span(r#""attributes":[{"key":"lost","value":{"intValue":1}}],"name":"""#);
    check(
        &spans_request(&[wrong, span("")].join(",")),
        expect![[r#"
        spans
          trace_id: 4bf92f3577b34da6a3ce929d0e0e4736
          span_id: 00f067aa0ba902b7
          service_name: cart
          name: GET /cart
          kind: UNSPECIFIED
          started_at: 2023-11-14T22:13:20Z
          ended_at: 2023-11-14T22:13:20.012Z
          duration_ns: 12000000
          status_code: UNSET
          scope_name: lib
          scope_version: 1.2
          resource_attributes: {service.name: cart}
        ingest_errors
          kind: span
          reason: span "00f067aa0ba902b7": name is missing
    "#]],
    );
}

#[test]
fn too_many_attributes() {
    let attributes = |count: usize| {
        let all: Vec<_> =
            (0..count).map(|i| format!(r#"{{"key":"k{i}","value":{{"intValue":{i}}}}}"#)).collect();
        span(&format!(r#""attributes":[{}]"#, all.join(",")))
    };
    check_errors(
        &spans_request(&[attributes(1024), attributes(1025)].join(",")),
        expect![[r#"
        1 accepted, 1 rejected
        span: span "00f067aa0ba902b7": more than 1024 attributes, 1024 allowed
    "#]],
    );
}

#[test]
fn values_that_nest_too_deeply() {
    let nested = |levels: usize| {
        let open = r#"{"arrayValue":{"values":["#.repeat(levels);
        let close = "]}}".repeat(levels);
        span(&format!(r#""attributes":[{{"key":"k","value":{open}{{"intValue":1}}{close}}}]"#))
    };
    check_errors(
        &spans_request(&[nested(32), nested(33), nested(100_000), span("")].join(",")),
        expect![[r#"
            2 accepted, 2 rejected
            span: span "00f067aa0ba902b7": more than 32 levels of arrays and lists in a value, 32 allowed
            span: span "00f067aa0ba902b7": more than 32 levels of arrays and lists in a value, 32 allowed
        "#]],
    );
}

#[test]
fn a_rejected_span_takes_its_parts_with_it() {
    let parts = r#""links":[{"traceId":"11111111111111111111111111111111","spanId":"2222222222222222"}],
        "events":[{"timeUnixNano":"1700000000005000000","name":"e"}]"#;
    check(
        &spans_request(&span(&format!(r#"{parts},"name":"""#))),
        expect![[r#"
        ingest_errors
          kind: span
          reason: span "00f067aa0ba902b7": name is missing
    "#]],
    );
}

#[test]
fn a_wrong_part_rejects_only_itself() {
    let parts = r#""links":[
            {"traceId":"11111111111111111111111111111111","spanId":"2222222222222222"},
            {"traceId":"11111111111111111111111111111111"},
            {"traceId":"11111111111111111111111111111111","spanId":"2222222222222223","attributes":4},
            {"traceId":"11111111111111111111111111111111","spanId":"2222222222222224"}],
        "events":[
            {"timeUnixNano":"1700000000005000000","name":"e"},
            {"timeUnixNano":"1700000000005000000","attributes":[{"key":"lost","value":{"intValue":1}}]},
            {"timeUnixNano":"5","name":"e"},
            "e",
            {"timeUnixNano":"1700000000006000000","name":"f"}]"#;
    check(
        &spans_request(&span(parts)),
        expect![[r#"
        spans
          trace_id: 4bf92f3577b34da6a3ce929d0e0e4736
          span_id: 00f067aa0ba902b7
          service_name: cart
          name: GET /cart
          kind: UNSPECIFIED
          started_at: 2023-11-14T22:13:20Z
          ended_at: 2023-11-14T22:13:20.012Z
          duration_ns: 12000000
          status_code: UNSET
          scope_name: lib
          scope_version: 1.2
          resource_attributes: {service.name: cart}
        span_links
          trace_id: 4bf92f3577b34da6a3ce929d0e0e4736
          span_id: 00f067aa0ba902b7
          linked_trace_id: 11111111111111111111111111111111
          linked_span_id: 2222222222222222
          service_name: cart
          started_at: 2023-11-14T22:13:20Z
        span_links
          trace_id: 4bf92f3577b34da6a3ce929d0e0e4736
          span_id: 00f067aa0ba902b7
          linked_trace_id: 11111111111111111111111111111111
          linked_span_id: 2222222222222224
          service_name: cart
          started_at: 2023-11-14T22:13:20Z
        span_events
          trace_id: 4bf92f3577b34da6a3ce929d0e0e4736
          span_id: 00f067aa0ba902b7
          service_name: cart
          name: e
          ts: 2023-11-14T22:13:20.005Z
        span_events
          trace_id: 4bf92f3577b34da6a3ce929d0e0e4736
          span_id: 00f067aa0ba902b7
          service_name: cart
          name: f
          ts: 2023-11-14T22:13:20.006Z
        ingest_errors
          kind: span_link
          reason: link of span "00f067aa0ba902b7": linked span id is missing
        ingest_errors
          kind: span_link
          reason: link of span "00f067aa0ba902b7": attributes is the number 4, an array expected
        ingest_errors
          kind: span_event
          reason: event of span "00f067aa0ba902b7": name is missing
        ingest_errors
          kind: span_event
          reason: event of span "00f067aa0ba902b7": ts 1970-01-01T00:00:00.000000005Z is outside 2000-01-01T00:00:00Z to 2023-11-15T22:13:20Z
        ingest_errors
          kind: span_event
          reason: event of span "00f067aa0ba902b7": event is the string "e", an object expected
    "#]],
    );
    check_errors(
        &spans_request(&span(r#""links":{},"events":7"#)),
        expect![[r#"
        1 accepted, 2 rejected
        span_link: links is an object, an array expected
        span_event: events is the number 7, an array expected
    "#]],
    );
}
