use expect_test::expect;

use super::{check, check_errors, metrics_request};

#[test]
fn gauges_and_sums() {
    check(
        r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}]},
            "scopeMetrics":[{"scope":{"name":"lib"},"metrics":[
                {"name":"load","description":"how much","unit":"1","gauge":{"dataPoints":[
                    {"timeUnixNano":"1700000000000000000","asDouble":0.5,
                        "attributes":[{"key":"cpu","value":{"intValue":3}}]},
                    {"timeUnixNano":"1700000001000000000","asDouble":"NaN"},
                    {"timeUnixNano":"1700000002000000000","flags":1}]}},
                {"name":"requests","sum":{"dataPoints":[
                    {"startTimeUnixNano":"1699999999000000000","timeUnixNano":"1700000000000000000","asInt":"42",
                        "exemplars":[{"timeUnixNano":"1699999999500000000","asInt":3,
                            "traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7",
                            "filteredAttributes":[{"key":"user","value":{"stringValue":"u1"}}]}, {"asDouble":1.5}]}],
                    "aggregationTemporality":2,"isMonotonic":true}}]}]}]}"#,
        expect![],
    );
}

#[test]
fn histograms() {
    check(
        &metrics_request(
            r#"{"name":"latency","unit":"ms","histogram":{"aggregationTemporality":1,"dataPoints":[
                {"timeUnixNano":"1700000000000000000","count":"6","sum":30.5,"min":1,"max":12.5,
                    "bucketCounts":["1","2",3],"explicitBounds":[5,10]},
                {"timeUnixNano":"1700000000000000000","count":6,"sum":30.5}]}},
            {"name":"size","exponentialHistogram":{"dataPoints":[
                {"timeUnixNano":"1700000000000000000","count":9,"sum":1.5,"scale":-2,"zeroCount":"4","zeroThreshold":0.001,
                    "positive":{"offset":-3,"bucketCounts":["1","2"]},"negative":{"bucketCounts":[2]}}],
                "aggregationTemporality":2}}"#,
        ),
        expect![],
    );
}

#[test]
fn summaries() {
    check(
        &metrics_request(
            r#"{"name":"gc","summary":{"dataPoints":[
                {"timeUnixNano":"1700000000000000000","count":"6","sum":30.5,
                    "quantileValues":[{"quantile":0.5,"value":4},{"value":"Infinity","quantile":1}]},
                {"timeUnixNano":"1700000000000000000","flags":1}]}}"#,
        ),
        expect![],
    );
}

#[test]
fn a_metric_whose_name_comes_last() {
    check(
        &metrics_request(
            r#"{"gauge":{"dataPoints":[{"asInt":1,"timeUnixNano":"1700000000000000000"}]},"unit":"s","name":"late"}"#,
        ),
        expect![],
    );
}

#[test]
fn wrong_points_reject_only_themselves() {
    let points = [
        r#"{"asInt":1}"#,
        r#"{"asInt":1,"timeUnixNano":"1700000000"}"#,
        r#"{"asInt":1.5,"timeUnixNano":"1700000000000000000"}"#,
        r#"{"asInt":"9223372036854775808","timeUnixNano":"1700000000000000000"}"#,
        r#"{"asDouble":"much","timeUnixNano":"1700000000000000000"}"#,
        r#"{"asDouble":1,"timeUnixNano":"1700000000000000000","startTimeUnixNano":"-1"}"#,
        r#"{"asDouble":1,"timeUnixNano":"1700000000000000000","flags":-1}"#,
        r#"{"asDouble":1,"timeUnixNano":"1700000000000000000","exemplars":[{"asInt":1},{"traceId":"12"}]}"#,
        r#"[]"#,
        r#"{"asInt":1,"timeUnixNano":"1700000000000000000"}"#,
    ];
    let metric = format!(r#"{{"name":"load","gauge":{{"dataPoints":[{}]}}}}"#, points.join(","));
    check_errors(&metrics_request(&metric), expect![]);
}

#[test]
fn wrong_distributions() {
    let point = |fields: &str| format!(r#"{{"timeUnixNano":"1700000000000000000",{fields}}}"#);
    let points = [
        point(r#""bucketCounts":[1,2],"explicitBounds":[1,2]"#),
        point(r#""bucketCounts":[1,-2],"explicitBounds":[1]"#),
        point(r#""bucketCounts":["18446744073709551615"]"#),
        point(r#""count":"-1""#),
        point(r#""count":"9223372036854775808""#),
        point(r#""count":3"#),
    ];
    let metric = format!(r#"{{"name":"latency","histogram":{{"dataPoints":[{}]}}}}"#, points.join(","));
    check_errors(&metrics_request(&metric), expect![]);
    let point = point(r#""scale":4294967296"#);
    let metric = format!(r#"{{"name":"size","exponentialHistogram":{{"dataPoints":[{point}]}}}}"#);
    check_errors(&metrics_request(&metric), expect![]);
}

#[test]
fn wrong_metrics_take_their_points_with_them() {
    let points = r#""dataPoints":[{"asInt":1,"timeUnixNano":"1700000000000000000"},{"asInt":2,"timeUnixNano":"1700000000000000000"}]"#;
    let metrics = [
        format!(r#"{{"name":"","gauge":{{{points}}}}}"#),
        format!(r#"{{"gauge":{{{points}}}}}"#),
        format!(r#"{{"name":5,"gauge":{{{points}}}}}"#),
        r#"{"name":"load"}"#.to_owned(),
        r#"{"name":"load","gauge":[]}"#.to_owned(),
        r#"{"name":"load","gauge":{"dataPoints":{}}}"#.to_owned(),
        format!(
            r#"{{"name":"load","sum":{{{points},"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA"}}}}"#
        ),
        format!(r#"{{"name":"load","sum":{{{points},"aggregationTemporality":3}}}}"#),
        format!(r#"{{"name":"load","sum":{{{points},"isMonotonic":"yes"}}}}"#),
        format!(r#"{{"name":"load","gauge":{{{points}}},"sum":{{{points}}}}}"#),
        format!(r#"{{"name":"load","gauge":{{{points}}}}}"#),
    ];
    check_errors(&metrics_request(&metrics.join(",")), expect![]);
}
