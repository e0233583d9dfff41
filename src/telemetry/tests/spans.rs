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
    check(&spans_request(span), expect![]);
}

#[test]
fn the_least_of_a_span() {
    check(
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736",
            "spanId":"00f067aa0ba902b7","parentSpanId":"","name":"x","status":null,"attributes":null,
            "startTimeUnixNano":"946684800000000000","endTimeUnixNano":"946684800000000000"}]}]}]}"#,
        expect![],
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
        expect![],
    );
}

#[test]
fn an_all_zero_parent_is_a_root() {
    check_errors(&spans_request(&span(r#""parentSpanId":"0000000000000000""#)), expect![]);
}

#[test]
fn wrong_ids() {
    let spans = [
        span(r#""traceId":"abc""#),
        span(r#""traceId":null"#),
        span(r#""traceId":"00000000000000000000000000000000""#),
        span(r#""traceId":"4bf92f3577b34da6a3ce929d0e0e473g""#),
        span(r#""traceId":"S/kvNXezTaajzpKdDg5HNg==""#),
        span(r#""spanId":"""#),
        span(r#""spanId":"0000000000000000""#),
        span(r#""parentSpanId":"12""#),
        span(r#""traceId":5"#),
        span(""),
    ];
    check_errors(&spans_request(&spans.join(",")), expect![]);
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
        span(r#""startTimeUnixNano":"18446744073709551616""#),
        span(r#""startTimeUnixNano":"yesterday""#),
        span(r#""startTimeUnixNano":1.7e18"#),
        span(r#""startTimeUnixNano":"""#),
    ];
    check_errors(&spans_request(&spans.join(",")), expect![]);
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
    check_errors(&spans_request(&spans.join(",")), expect![]);
}

#[test]
fn too_many_attributes() {
    let attributes = |count: usize| {
        let all: Vec<_> =
            (0..count).map(|i| format!(r#"{{"key":"k{i}","value":{{"intValue":{i}}}}}"#)).collect();
        span(&format!(r#""attributes":[{}]"#, all.join(",")))
    };
    check_errors(&spans_request(&[attributes(1024), attributes(1025)].join(",")), expect![]);
}

#[test]
fn values_that_nest_too_deeply() {
    let nested = |levels: usize| {
        let open = r#"{"arrayValue":{"values":["#.repeat(levels);
        let close = "]}}".repeat(levels);
        span(&format!(r#""attributes":[{{"key":"k","value":{open}{{"intValue":1}}{close}}}]"#))
    };
    check_errors(&spans_request(&[nested(32), nested(33), nested(100_000), span("")].join(",")), expect![]);
}

#[test]
fn a_rejected_span_takes_its_parts_with_it() {
    let parts = r#""links":[{"traceId":"11111111111111111111111111111111","spanId":"2222222222222222"}],
        "events":[{"timeUnixNano":"1700000000005000000","name":"e"}]"#;
    check(&spans_request(&span(&format!(r#"{parts},"name":"""#))), expect![]);
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
    check(&spans_request(&span(parts)), expect![]);
    check_errors(&spans_request(&span(r#""links":{},"events":7"#)), expect![]);
}
