use expect_test::expect;

use super::{check_errors, decoder, origin, reasons, shown, span, spans_request, text};
use crate::telemetry::{Decoder, Limits, Origin, Table};

#[test]
fn text_that_is_not_json() {
    for (request, expected) in [
        ("", expect![]),
        ("GET / HTTP/1.1", expect![]),
        ("{\"resourceSpans\":[\n  {\"scopeSpans\" []}]}", expect![]),
        (r#"{"resourceSpans":[]} x"#, expect![]),
        (r#"{"resourceSpans":[],}"#, expect![]),
        (r#"{"a":"\x"}"#, expect![]),
        ("{\"a\":\"\t\"}", expect![]),
    ] {
        check_errors(request, expected);
    }
}

#[test]
fn records_before_the_damage_are_kept() {
    let request = spans_request(&[span(""), span(""), span("")].join(","));
    let cut = request.rfind("endTime").unwrap();
    check_errors(&request[..cut], expect![]);
}

#[test]
fn json_that_is_no_request() {
    check_errors("[]", expect![]);
    check_errors("7", expect![]);
    check_errors(r#"{"spans":[]}"#, expect![]);
    check_errors(r#"{"resourceSpans":{}}"#, expect![]);
    check_errors(r#"{"resourceSpans":[{"scopeSpans":"x"}]}"#, expect![]);
    check_errors(r#"{"resourceSpans":[5,{"scopeSpans":[true]}]}"#, expect![]);
    check_errors(r#"{"resourceSpans":[{"scopeSpans":[{"spans":"x"}]}]}"#, expect![]);
}

#[test]
fn an_empty_request_is_valid() {
    for request in
        ["{}", r#"{"resourceSpans":[]}"#, r#"{"resourceSpans":null}"#, r#"{"resourceLogs":[{}]}"#, " {} \n"]
    {
        check_errors(request, expect![]);
    }
}

#[test]
fn a_wrong_resource_takes_its_records_with_it() {
    let spans = [span(""), span("")].join(",");
    check_errors(
        &format!(
            r#"{{"resourceSpans":[
                {{"resource":{{"attributes":[{{"key":"a","value":"b"}}]}},"scopeSpans":[{{"spans":[{spans}]}}]}},
                {{"resource":5,"scopeSpans":[]}},
                {{"resource":{{}},"scopeSpans":[{{"scope":{{"name":1}},"spans":[{spans}]}},{{"spans":[{spans}]}}]}}]}}"#
        ),
        expect![],
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
    expect![].assert_debug_eq(&[row(0), row(1)]);
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
    expect![].assert_eq(&reasons(&mut decoder));
}

#[test]
fn a_request_that_is_too_large() {
    let mut decoder = Decoder::new(Limits { request_bytes_max: 10, ..Limits::default() }, 0);
    decoder.json(b"{         }", &origin());
    decoder.json(b"{        }", &origin());
    expect![].assert_eq(&reasons(&mut decoder));
}

#[test]
fn buffers_that_are_full() {
    let mut decoder = Decoder::new(Limits { table_bytes_max: 600, ..Limits::default() }, 0);
    decoder.json(spans_request(&vec![span(""); 9].join(",")).as_bytes(), &origin());
    expect![].assert_eq(&reasons(&mut decoder));
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
