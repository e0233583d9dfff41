use expect_test::expect;

use super::{check_errors, decoder, origin, reasons, shown, span, spans_request, text};
use crate::telemetry::{Decoder, Limits, Origin, Table};

#[test]
fn text_that_is_not_json() {
    for (request, expected) in [
        (
            "",
            expect![[r#"
            0 accepted, 1 rejected
            request: not JSON at line 1 column 1: a value expected, the end of the text found
        "#]],
        ),
        (
            "GET / HTTP/1.1",
            expect![[r#"
            0 accepted, 1 rejected
            request: not JSON at line 1 column 1: a value expected, 'G' found
        "#]],
        ),
        (
            "{\"resourceSpans\":[\n  {\"scopeSpans\" []}]}",
            expect![[r#"
            0 accepted, 1 rejected
            request: not JSON at line 2 column 17: ":" expected, '[' found
        "#]],
        ),
        (
            r#"{"resourceSpans":[]} x"#,
            expect![[r#"
            0 accepted, 1 rejected
            request: not JSON at line 1 column 22: the end of the text expected, 'x' found
        "#]],
        ),
        (
            r#"{"resourceSpans":[],}"#,
            expect![[r#"
            0 accepted, 1 rejected
            request: not JSON at line 1 column 21: a key expected, '}' found
        "#]],
        ),
        (
            r#"{"a":"\x"}"#,
            expect![[r#"
            0 accepted, 1 rejected
            request: not JSON at line 1 column 7: an escape expected, '\\' found
        "#]],
        ),
        (
            "{\"a\":\"\t\"}",
            expect![[r#"
                0 accepted, 1 rejected
                request: not JSON at line 1 column 7: an escape such as \n expected, '\t' found
            "#]],
        ),
    ] {
        check_errors(request, expected);
    }
}

#[test]
fn records_before_the_damage_are_kept() {
    let request = spans_request(&[span(""), span(""), span("")].join(","));
    let cut = request.rfind("endTime").unwrap();
    check_errors(
        &request[..cut],
        expect![[r#"
        2 accepted, 1 rejected
        request: not JSON at line 6 column 56: the end of a string expected, the end of the text found
    "#]],
    );
}

#[test]
fn json_that_is_no_request() {
    check_errors(
        "[]",
        expect![[r#"
            0 accepted, 1 rejected
            request: request is an array, an object expected
        "#]],
    );
    check_errors(
        "7",
        expect![[r#"
            0 accepted, 1 rejected
            request: request is the number 7, an object expected
        "#]],
    );
    check_errors(
        r#"{"spans":[]}"#,
        expect![[r#"
        0 accepted, 1 rejected
        request: request has none of resourceSpans, resourceMetrics and resourceLogs at its top
    "#]],
    );
    check_errors(
        r#"{"resourceSpans":{}}"#,
        expect![[r#"
        0 accepted, 1 rejected
        request: resourceSpans is an object, an array expected
    "#]],
    );
    check_errors(
        r#"{"resourceSpans":[{"scopeSpans":"x"}]}"#,
        expect![[r#"
        0 accepted, 1 rejected
        request: scopeSpans is the string "x", an array expected
    "#]],
    );
    check_errors(
        r#"{"resourceSpans":[5,{"scopeSpans":[true]}]}"#,
        expect![[r#"
        0 accepted, 2 rejected
        request: resourceSpans is the number 5, an object expected
        request: scopeSpans is a boolean, an object expected
    "#]],
    );
    check_errors(
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":"x"}]}]}"#,
        expect![[r#"
        0 accepted, 1 rejected
        span: spans is the string "x", an array expected
    "#]],
    );
}

#[test]
fn an_empty_request_is_valid() {
    for request in
        ["{}", r#"{"resourceSpans":[]}"#, r#"{"resourceSpans":null}"#, r#"{"resourceLogs":[{}]}"#, " {} \n"]
    {
        let mut decoder = decoder();
        decoder.json(request.as_bytes(), &origin());
        assert_eq!(decoder.rows(), 0, "{request}");
        assert!(decoder.finish().is_empty());
    }
}

#[test]
fn a_wrong_resource_takes_its_records_with_it() {
    let spans = [span(""), span("")].join(",");
    check_errors(
        &format!(
            r#"{{"resourceSpans":[
                {{"resource":{{"attributes":[{{"key":"a","value":"b"}}]}},"scopeSpans":[{{"spans":[{spans}]}},{{"spans":[{spans}]}}]}},
                {{"resource":5,"scopeSpans":[]}},
                {{"resource":{{}},"scopeSpans":[{{"scope":{{"name":1}},"spans":[{spans}]}},{{"spans":[{spans}]}}]}}]}}"#
        ),
        expect![[r#"
            2 accepted, 7 rejected
            resource: resource: value of an attribute or body is the string "b", an object expected. It takes 4 records with it.
            resource: resource: resource is the number 5, an object expected
            scope: scope: name is the number 1, a string expected. It takes 2 records with it.
        "#]],
    );
}

#[test]
fn where_an_error_comes_from() {
    let mut decoder = decoder();
    decoder.json(spans_request(&span(r#""name":"""#)).as_bytes(), &origin());
    decoder.reject(
        &Origin { source: "10.0.0.7".into(), position: None },
        "gzip",
        "stream is damaged",
        b"\x1f\x8b\xff",
    );
    let batches = decoder.finish();
    assert_eq!(batches.len(), 1);
    assert_eq!(batches[0].event_time_ns, Some((super::NOW_NS, super::NOW_NS)));
    let row = |row| {
        ["received_at", "source", "kind", "reason", "sample"].map(|column| text(&batches[0], column, row))
    };
    expect![[r#"
        [
            [
                "2023-11-14T22:13:20Z",
                "test.jsonl:17",
                "span",
                "span \"00f067aa0ba902b7\": name is missing",
                "{\"traceId\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"spanId\":\"00f067aa0ba902b7\",\"name\":\"GET /cart\",\n            \"startTimeUnixNano\":\"1700000000000000000\",\"endTimeUnixNano\":\"1700000000012000000\",\"name\":\"\"}",
            ],
            [
                "2023-11-14T22:13:20Z",
                "10.0.0.7",
                "gzip",
                "stream is damaged",
                "\u{1f}��",
            ],
        ]
    "#]].assert_debug_eq(&[row(0), row(1)]);
}

#[test]
fn a_sample_is_cut_between_characters() {
    let limits = Limits { sample_bytes_max: 5, ..Limits::default() };
    let mut decoder = Decoder::new(limits, 0);
    decoder.reject(&origin(), "log", "no", "1234é".as_bytes());
    decoder.reject(&origin(), "log", "no", "123éé".as_bytes());
    let batches = decoder.finish();
    assert_eq!(text(&batches[0], "sample", 0), "1234");
    assert_eq!(text(&batches[0], "sample", 1), "123é");
}

#[test]
fn invalid_utf_8_in_json_rejects_its_record() {
    let request = spans_request(&[span(r#""name":"?""#), span("")].join(","));
    let bytes: Vec<u8> = request.bytes().map(|byte| if byte == b'?' { 0xff } else { byte }).collect();
    let mut decoder = decoder();
    decoder.json(&bytes, &origin());
    expect![[r#"
        1 accepted, 1 rejected
        span: span "00f067aa0ba902b7": name is not UTF-8
    "#]]
    .assert_eq(&reasons(&mut decoder));
}

#[test]
fn a_request_that_is_too_large() {
    let mut decoder = Decoder::new(Limits { request_bytes_max: 10, ..Limits::default() }, 0);
    decoder.json(b"{         }", &origin());
    decoder.json(b"{        }", &origin());
    expect![[r#"
        0 accepted, 1 rejected
        request: request has 11 bytes, 10 allowed. Send smaller batches.
    "#]]
    .assert_eq(&reasons(&mut decoder));
}

#[test]
fn buffers_that_are_full() {
    let mut decoder = Decoder::new(Limits { table_bytes_max: 600, ..Limits::default() }, 0);
    decoder.json(spans_request(&vec![span(""); 9].join(",")).as_bytes(), &origin());
    expect![[r#"
        3 accepted, 6 rejected
        span: span "00f067aa0ba902b7": more than 600 bytes of rows are buffered already. Send smaller batches.
        span: span "00f067aa0ba902b7": more than 600 bytes of rows are buffered already. Send smaller batches.
    "#]]
    .assert_eq(&reasons(&mut decoder));
    decoder.json(spans_request(&span("")).as_bytes(), &origin());
    assert_eq!(decoder.finish()[0].table, Table::Spans);
}

#[test]
fn a_decoder_is_used_on_after_finishing() {
    let mut decoder = decoder();
    assert!(decoder.finish().is_empty());
    let request = spans_request(&span(r#""attributes":[{"key":"k","value":{"intValue":1}}]"#));
    decoder.json(request.as_bytes(), &origin());
    let first = decoder.finish();
    assert_eq!((decoder.rows(), decoder.bytes(), decoder.event_time_ns()), (0, 0, None));
    decoder.json(request.as_bytes(), &origin());
    assert_eq!(decoder.event_time_ns(), Some((super::NOW_NS, super::NOW_NS)));
    assert_eq!(decoder.rows(), 1);
    assert_eq!(shown(&first), shown(&decoder.finish()));
    assert_eq!(decoder.accepted(), 2);
}
