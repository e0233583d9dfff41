//! Views that come and go while others stay.

use serde_json::json;

use crate::support::{Server, table};

#[test]
fn a_view_created_after_another_was_dropped_has_all_rows() {
    for workers in [1, 2, 3] {
        let mut server = Server::new(workers);
        for n in 0..6 {
            server.append(table("logs"), &[json!({"body": format!("row {n}"), "span_id": "s"})]);
            if n % 2 == 0 {
                server.close(0);
            }
        }
        server.close(0);
        for round in 0..200 {
            server.run("CREATE MATERIALIZED VIEW v AS SELECT DISTINCT body, span_id FROM logs");
            let rows = server.query("SELECT * FROM v").expect("rows").sorted();
            assert_eq!(rows.len(), 6, "round {round} with {workers} workers: {rows:?}");
            server.run("DROP VIEW v");
        }
    }
}
