//! The service map in the columns of Grafana's node graph panel.

use expect_test::expect;

use super::{after, check_retried};
use crate::queries::notation::lines;

const CALLS: &str = "
    1/1   web  SERVER 100ms
    1/2<1 web  CLIENT
    1/3<2 cart SERVER 10ms
    1/4<1 web  CLIENT
    1/5<4 cart SERVER 30ms +59s ERROR
    1/6<5 cart CLIENT 2ms db.system=redis
    1/7<1 web  CLIENT 5ms +60s peer.service=bank
    1/8<2 mail CONSUMER 1ms
";

#[test]
fn a_node_is_whoever_calls_or_is_called() {
    check_retried(
        CALLS,
        "SELECT id, title, subtitle, mainstat, round(secondarystat, 4), arc__success, arc__errors
         FROM service_graph_nodes ORDER BY id",
        expect![[r#"
            bank bank external 5.0 0.0083 1.0 0.0
            cart cart service 20.0 0.0167 0.5 0.5
            mail mail service 1.0 0.0083 1.0 0.0
            redis redis database 2.0 0.0083 1.0 0.0
            user user external null 0.0 1.0 0.0
            web web service 100.0 0.0083 1.0 0.0
        "#]],
    );
}

#[test]
fn an_edge_joins_two_nodes_once_whatever_the_connection() {
    check_retried(
        CALLS,
        "SELECT id, source, target, mainstat, round(secondarystat, 4) FROM service_graph_edges ORDER BY id",
        expect![[r#"
            cart -> redis cart redis 2.0 0.0083
            user -> web user web 100.0 0.0083
            web -> bank web bank 5.0 0.0083
            web -> cart web cart 20.0 0.0167
            web -> mail web mail 1.0 0.0083
        "#]],
    );
}

#[test]
fn ends_of_edges_are_nodes_and_shares_add_up() {
    let strays = "SELECT source, target FROM service_graph_edges
        WHERE source NOT IN (SELECT id FROM service_graph_nodes) OR target NOT IN (SELECT id FROM service_graph_nodes)";
    assert_eq!(after(&lines(CALLS), strays, 0), "");
    let uneven = "SELECT id FROM service_graph_nodes WHERE arc__success + arc__errors <> 1.0";
    assert_eq!(after(&lines(CALLS), uneven, 0), "");
}
