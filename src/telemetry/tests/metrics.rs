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
        expect![[r#"
            metrics
              name: load
              type: gauge
              description: how much
              unit: 1
              service_name: cart
              attributes: {cpu: 3}
              resource_attributes: {service.name: cart}
              scope_name: lib
              ts: 2023-11-14T22:13:20Z
              value: 0.5
              flags: 0
            metrics
              name: load
              type: gauge
              description: how much
              unit: 1
              service_name: cart
              resource_attributes: {service.name: cart}
              scope_name: lib
              ts: 2023-11-14T22:13:21Z
              value: NaN
              flags: 0
            metrics
              name: load
              type: gauge
              description: how much
              unit: 1
              service_name: cart
              resource_attributes: {service.name: cart}
              scope_name: lib
              ts: 2023-11-14T22:13:22Z
              flags: 1
            metrics
              name: requests
              type: sum
              temporality: cumulative
              is_monotonic: true
              service_name: cart
              resource_attributes: {service.name: cart}
              scope_name: lib
              started_at: 2023-11-14T22:13:19Z
              ts: 2023-11-14T22:13:20Z
              value: 42.0
              value_int: 42
              exemplars: [{ts: 2023-11-14T22:13:19.500Z, value: 3.0, trace_id: 4bf92f3577b34da6a3ce929d0e0e4736, span_id: 00f067aa0ba902b7, attributes: {user: u1}}, {ts: null, value: 1.5, trace_id: null, span_id: null, attributes: {}}]
              flags: 0
        "#]],
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
        expect![[r#"
            metrics
              name: latency
              type: histogram
              unit: ms
              temporality: delta
              ts: 2023-11-14T22:13:20Z
              count: 6
              sum: 30.5
              min: 1.0
              max: 12.5
              bucket_counts: [1, 2, 3]
              explicit_bounds: [5.0, 10.0]
              flags: 0
            metrics
              name: latency
              type: histogram
              unit: ms
              temporality: delta
              ts: 2023-11-14T22:13:20Z
              count: 6
              sum: 30.5
              bucket_counts: []
              explicit_bounds: []
              flags: 0
            metrics
              name: size
              type: exponential_histogram
              temporality: cumulative
              ts: 2023-11-14T22:13:20Z
              count: 9
              sum: 1.5
              scale: -2
              zero_count: 4
              zero_threshold: 0.001
              positive_offset: -3
              positive_bucket_counts: [1, 2]
              negative_offset: 0
              negative_bucket_counts: [2]
              flags: 0
        "#]],
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
        expect![[r#"
            metrics
              name: gc
              type: summary
              ts: 2023-11-14T22:13:20Z
              count: 6
              sum: 30.5
              quantiles: [{quantile: 0.5, value: 4.0}, {quantile: 1.0, value: inf}]
              flags: 0
            metrics
              name: gc
              type: summary
              ts: 2023-11-14T22:13:20Z
              quantiles: []
              flags: 1
        "#]],
    );
}

#[test]
fn a_metric_whose_name_comes_last() {
    check(
        &metrics_request(
            r#"{"gauge":{"dataPoints":[{"asInt":1,"timeUnixNano":"1700000000000000000"}]},"unit":"s","name":"late"}"#,
        ),
        expect![[r#"
            metrics
              name: late
              type: gauge
              unit: s
              ts: 2023-11-14T22:13:20Z
              value: 1.0
              value_int: 1
              flags: 0
        "#]],
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
    check_errors(
        &metrics_request(&metric),
        expect![[r#"
        1 accepted, 9 rejected
        metric: metric "load": ts is missing
        metric: metric "load": ts 1970-01-01T00:00:01.7Z is outside 2000-01-01T00:00:00Z to 2023-11-15T22:13:20Z. It would fit as seconds; nanoseconds are expected.
        metric: metric "load": asInt is the number 1.5, an integer expected
        metric: metric "load": asInt 9223372036854775808 is outside -9223372036854775808 to 9223372036854775807
        metric: metric "load": asDouble is the string "much", a number expected
        metric: metric "load": started_at -1 is negative, nanoseconds since 1970 expected
        metric: metric "load": flags -1 is outside 0 to 4294967295
        metric: metric "load": trace id of an exemplar "12" has 2 hex digits, 32 expected
        metric: metric "load": data point is an array, an object expected
    "#]],
    );
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
    check_errors(
        &metrics_request(&metric),
        expect![[r#"
        1 accepted, 5 rejected
        metric: metric "latency": 2 bucket counts with 2 bounds, 3 expected
        metric: metric "latency": bucket count -2 is outside 0 to 9223372036854775807
        metric: metric "latency": bucket count 18446744073709551615 is outside 0 to 9223372036854775807
        metric: metric "latency": count -1 is outside 0 to 9223372036854775807
        metric: metric "latency": count 9223372036854775808 is outside 0 to 9223372036854775807
    "#]],
    );
    let point = point(r#""scale":4294967296"#);
    let metric = format!(r#"{{"name":"size","exponentialHistogram":{{"dataPoints":[{point}]}}}}"#);
    check_errors(
        &metrics_request(&metric),
        expect![[r#"
        0 accepted, 1 rejected
        metric: metric "size": scale 4294967296 is outside -2147483648 to 2147483647
    "#]],
    );
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
    check_errors(
        &metrics_request(&metrics.join(",")),
        expect![[r#"
            4 accepted, 16 rejected
            metric: metric: name is missing. It takes 2 records with it.
            metric: metric: name is missing. It takes 2 records with it.
            metric: metric: name is the number 5, a string expected. It takes 2 records with it.
            metric: metric "load": data is missing, a gauge, sum, histogram, exponential histogram or summary expected
            metric: gauge is an array, an object expected
            metric: dataPoints is an object, an array expected
            metric: metric "load": temporality is the string "AGGREGATION_TEMPORALITY_DELTA", an integer expected. OTLP JSON writes enums as integers, not as names. It takes 2 records with it.
            metric: metric "load": temporality 3 is outside 0 to 2. It takes 2 records with it.
            metric: metric "load": isMonotonic is the string "yes", true or false expected. It takes 2 records with it.
            metric: metric "load": data is of two types, one expected
        "#]],
    );
}
