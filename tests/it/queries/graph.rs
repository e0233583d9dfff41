//! Who calls whom: one test a rule.

use expect_test::{Expect, expect};

use super::notation::{Session, lines, shown};
use super::{after, check_retried};

fn edges(view: &str) -> String {
    format!(
        "SELECT source_service, '->', target_service, connection_type, call_count, error_count
         FROM {view} ORDER BY source_service, target_service, connection_type"
    )
}

/// The edges by parent: source -> target, type, calls, errors.
fn by_parent(text: &str, expected: Expect) {
    check_retried(text, &edges("service_dependencies"), expected);
}

/// The edges by span kind.
fn by_kind(text: &str, expected: Expect) {
    check_retried(text, &edges("service_dependencies_by_kind"), expected);
}

/// The edges of both rules where they agree.
fn both(text: &str, expected: Expect) {
    let by_kind = after(&lines(text), &edges("service_dependencies_by_kind"), 0);
    assert_eq!(after(&lines(text), &edges("service_dependencies"), 0), by_kind);
    by_parent(text, expected);
}

#[test]
fn a_span_and_its_parent_of_another_service_are_a_call() {
    let text = "
        1/1   web  -
        1/2<1 cart -
        1/3<1 cart - ERROR
        1/4<2 db   -
    ";
    by_parent(
        text,
        expect![[r#"
        cart -> db direct 1 0
        web -> cart direct 2 1
    "#]],
    );
    by_kind(text, expect![[r#""#]]);
}

#[test]
fn client_and_server_are_one_call() {
    both(
        "
        1/1<f web  CLIENT
        1/2<1 cart SERVER
        ",
        expect![[r#"
            web -> cart direct 1 0
        "#]],
    );
}

#[test]
fn calls_within_a_service_are_calls_by_kind_alone() {
    let text = "
        1/1<f web CLIENT
        1/2<1 web SERVER
        1/3<2 web INTERNAL
    ";
    by_parent(text, expect![[r#""#]]);
    by_kind(
        text,
        expect![[r#"
        web -> web direct 1 0
    "#]],
    );
}

#[test]
fn internal_spans_are_skipped_by_kind() {
    let text = "
        1/1<f web  INTERNAL
        1/2<1 cart SERVER
        1/3<2 cart CLIENT
        1/4<3 auth INTERNAL
        1/5<4 user SERVER
    ";
    by_parent(
        text,
        expect![[r#"
        auth -> user direct 1 0
        cart -> auth direct 1 0
        web -> cart direct 1 0
    "#]],
    );
    by_kind(text, expect![[r#""#]]);
}

#[test]
fn spans_without_service_take_no_part() {
    both(
        "
        1/1<f web  CLIENT
        1/2<1 -    SERVER
        1/3<2 -    CLIENT db.system=redis
        1/4<3 cart SERVER
        2/1   -    SERVER
        ",
        expect![[r#""#]],
    );
    both(
        "
        1/1<f web  CLIENT peer.service=envoy
        1/2<1 -    SERVER
        ",
        expect![[r#"
            web -> envoy virtual_node 1 0
        "#]],
    );
}

#[test]
fn a_server_span_without_its_parent_is_nothing_until_it_comes() {
    for view in ["service_dependencies", "service_dependencies_by_kind"] {
        let (sql, mut session) = (edges(view), Session::new(1));
        session.prepare(&sql);
        session.append(&lines("1/2<1 cart SERVER"));
        session.close();
        expect![[r#""#]].assert_eq(&shown(&session.rows(&sql)));
        session.append(&lines("1/1<f web CLIENT"));
        session.close();
        expect![[r#"
            web -> cart direct 1 0
        "#]]
        .assert_eq(&shown(&session.rows(&sql)));
    }
}

#[test]
fn a_parent_of_another_trace_is_no_parent() {
    both(
        "
        1/1<f web  CLIENT
        2/2<1 cart SERVER
        ",
        expect![[r#""#]],
    );
}

#[test]
fn users_call_server_spans_without_parent() {
    let text = "
        1/1   web  SERVER
        2/1   web  SERVER ERROR
        3/1   cron -
        4/1   cron CLIENT
        5/1   jobs CONSUMER
    ";
    both(
        text,
        expect![[r#"
        user -> web virtual_node 2 1
    "#]],
    );
}

#[test]
fn a_call_failed_when_either_side_failed() {
    both(
        "
        1/1<f web  CLIENT ERROR
        1/2<1 cart SERVER
        2/1<f web  CLIENT
        2/2<1 cart SERVER ERROR
        3/1<f web  CLIENT ERROR
        3/2<1 cart SERVER ERROR
        4/1<f web  CLIENT
        4/2<1 cart SERVER
        ",
        expect![[r#"
            web -> cart direct 4 3
        "#]],
    );
}

#[test]
fn a_caller_that_is_no_client_may_fail_for_itself() {
    by_parent(
        "
        1/1   web  - ERROR
        1/2<1 cart -
        ",
        expect![[r#"
            web -> cart direct 1 0
        "#]],
    );
}

#[test]
fn messages_within_a_trace() {
    both(
        "
        1/1<f shop PRODUCER
        1/2<1 mail CONSUMER
        1/3<1 bill CONSUMER ERROR
        ",
        expect![[r#"
            shop -> bill messaging_system 1 1
            shop -> mail messaging_system 1 0
        "#]],
    );
}

#[test]
fn messages_of_another_trace_are_linked() {
    both(
        "
        1/1<f shop PRODUCER
        2/1   mail CONSUMER ->1/1
        3/1<f mail CONSUMER ->1/1 ->1/1 ->4/4
        ",
        expect![[r#"
            shop -> mail messaging_system 2 0
        "#]],
    );
}

#[test]
fn one_message_handled_in_one_batch_with_others_is_one_call_each() {
    both(
        "
        1/1<f shop PRODUCER
        2/1<f shop PRODUCER ERROR
        3/1<f cart PRODUCER
        4/1   mail CONSUMER ->1/1 ->2/1 ->3/1
        ",
        expect![[r#"
            cart -> mail messaging_system 1 0
            shop -> mail messaging_system 2 1
        "#]],
    );
}

#[test]
fn links_between_other_kinds_are_no_calls() {
    both(
        "
        1/1<f shop PRODUCER
        1/2<f shop CLIENT
        2/1   mail INTERNAL ->1/1
        2/2<f mail CONSUMER ->1/2
        2/3<f mail SERVER   ->1/1
        ",
        expect![[r#""#]],
    );
}

#[test]
fn a_parent_that_is_linked_too_is_one_call() {
    both(
        "
        1/1<f shop PRODUCER
        1/2<1 mail CONSUMER ->1/1
        ",
        expect![[r#"
            shop -> mail messaging_system 1 0
        "#]],
    );
}

#[test]
fn a_peer_goes_by_the_first_name_given() {
    let names = [
        "peer.service=a",
        "server.address=b",
        "network.peer.address=c",
        "db.namespace=d",
        "db.name=e",
        "db.system.name=f",
        "db.system=g",
    ];
    let mut text = String::new();
    for first in 0..names.len() {
        // Later names come earlier in the span: precedence is not the order of attributes.
        let rest: Vec<&str> = names[first..].iter().rev().copied().collect();
        text += &format!("{}/1<f web CLIENT {}\n", first + 1, rest.join(" "));
    }
    text += "8/1<f web CLIENT network.peer.address=c network.peer.port=80 server.port=81\n";
    text += "9/1<f web CLIENT http.route=/x network.peer.port=80\n";
    both(
        &text,
        expect![[r#"
        web -> a database 1 0
        web -> b database 1 0
        web -> c database 1 0
        web -> c:80 virtual_node 1 0
        web -> d database 1 0
        web -> e database 1 0
        web -> f database 1 0
        web -> g database 1 0
    "#]],
    );
}

#[test]
fn a_peer_is_a_database_where_any_attribute_says_so() {
    both(
        "
        1/1<f web CLIENT server.address=a db.operation.name=SELECT
        2/1<f web CLIENT server.address=a
        3/1<f web CLIENT server.address=a mydb.name=x adb.system=y
        4/1<f web CLIENT db.query.text=SELECT
        5/1<f web SERVER db.system=redis
        6/1<f web PRODUCER db.system=redis
        7/1<f web - db.system=redis
        ",
        expect![[r#"
            web -> a database 1 0
            web -> a virtual_node 2 0
        "#]],
    );
}

#[test]
fn a_peer_that_answers_is_a_service() {
    both(
        "
        1/1<f web  CLIENT peer.service=cart:8080
        1/2<1 cart SERVER
        2/1<f web  CLIENT peer.service=cart:8080
        2/2<1 web  INTERNAL
        ",
        expect![[r#"
            web -> cart direct 1 0
            web -> cart:8080 virtual_node 1 0
        "#]],
    );
}

#[test]
fn a_service_that_calls_itself_under_another_name_has_answered() {
    let text = "
        1/1<f web CLIENT peer.service=localhost
        1/2<1 web SERVER
    ";
    by_parent(text, expect![[r#""#]]);
    by_kind(
        text,
        expect![[r#"
        web -> web direct 1 0
    "#]],
    );
}

#[test]
fn a_proxy_that_passes_a_call_on_has_answered() {
    by_parent(
        "
        1/1<f web   CLIENT peer.service=cart
        1/2<1 envoy CLIENT peer.service=cart
        1/3<2 cart  SERVER
        ",
        expect![[r#"
            envoy -> cart direct 1 0
            web -> envoy direct 1 0
        "#]],
    );
}

#[test]
fn the_peer_stands_for_an_answer_of_unknown_kind() {
    by_parent(
        "
        1/1<f web  CLIENT peer.service=cart
        1/2<1 cart -
        2/1<f web  CLIENT
        2/2<1 cart -
        ",
        expect![[r#"
            web -> cart direct 1 0
            web -> cart virtual_node 1 0
        "#]],
    );
}

#[test]
fn latency_is_that_of_the_side_that_answers() {
    let text = "
        1/1<f web  CLIENT 100ms
        1/2<1 cart SERVER 20ms +1s
        2/1<f web  CLIENT 100ms
        2/2<1 cart SERVER 40ms +5s
        3/1<f web  CLIENT 7ms +9s db.system=redis
        4/1<f shop PRODUCER 1ms
        5/1   mail CONSUMER 3ms ->4/1
    ";
    for view in ["service_dependencies", "service_dependencies_by_kind"] {
        let sql = format!(
            "SELECT source_service, target_service, avg_latency_ms, round(latency_ms_p50), round(latency_ms_p99),
                 first_seen_at, last_seen_at
             FROM {view} ORDER BY 1, 2"
        );
        check_retried(
            text,
            &sql,
            expect![[r#"
            shop mail 3.0 3.0 3.0 2023-11-14T22:13:00Z 2023-11-14T22:13:00Z
            web cart 30.0 20.0 20.0 2023-11-14T22:13:01Z 2023-11-14T22:13:05Z
            web redis 7.0 7.0 7.0 2023-11-14T22:13:09Z 2023-11-14T22:13:09Z
        "#]],
        );
    }
}

#[test]
fn a_minute_holds_the_calls_answered_in_it() {
    let sql = "SELECT minute_at, source_service, target_service, connection_type, call_count,
            round(calls_per_second, 3), error_count, avg_latency_ms, round(latency_ms_p95)
        FROM service_dependencies_1m ORDER BY 1, 2, 3";
    check_retried(
        "
        1/1<f web  CLIENT +59s
        1/2<1 cart SERVER +60s 20ms
        2/1<f web  CLIENT +61s
        2/2<1 cart SERVER +119s 40ms ERROR
        3/1<f web  CLIENT +59s
        3/2<1 cart SERVER +59s
        4/1<f web  CLIENT +120s db.system=redis
        ",
        sql,
        expect![[r#"
            2023-11-14T22:13:00Z web cart direct 1 0.017 0 10.0 10.0
            2023-11-14T22:14:00Z web cart direct 2 0.033 1 30.0 20.0
            2023-11-14T22:15:00Z web redis database 1 0.017 0 10.0 10.0
        "#]],
    );
}
