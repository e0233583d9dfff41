//! Random recursive queries: paths over whatever has two columns of one type.

use rand::Rng;

use super::{Generator, Query, sql_type};

impl Generator<'_> {
    /// The paths from rows of one source along rows of another, or `None` where these have no columns for it. Values
    /// on the way are those of columns, so that UNION comes to an end; UNION ALL goes a few rounds.
    pub(super) fn recursion(&mut self, depth: usize) -> Option<Query> {
        let (base, edges) = (self.source(depth), self.relation(depth));
        let carried = self.expressions(&base.columns).column_type();
        let node = self.expressions(&edges.columns).column_type();
        let first = self.expressions(&base.columns).scalar(carried, 1);
        let start = self.expressions(&base.columns).column(node)?;
        let from = self.expressions(&edges.columns).column(node)?;
        let to = self.expressions(&edges.columns).column(node)?;
        let node_type = sql_type(node);
        let is_distinct = self.random.random_ratio(3, 4);
        let (union, more, end) = match is_distinct {
            true => ("UNION", "0", String::new()),
            false => ("UNION ALL", "r.c2 + 1", format!(" AND r.c2 < {}", self.random.random_range(1..=2))),
        };
        let kind = if self.random.random_ratio(1, 5) { "LEFT JOIN" } else { "JOIN" };
        let operator = if self.random.random_ratio(1, 10) { "IS NOT DISTINCT FROM" } else { "=" };
        let base_condition = self.condition(&base, depth);
        let extra = match self.random.random_ratio(1, 3) {
            true => format!(" AND {}", self.expressions(&edges.columns).predicate(1)),
            false => String::new(),
        };
        let sql = format!(
            "WITH RECURSIVE r AS (SELECT CAST({first} AS {}) AS c0, CAST({start} AS {node_type}) AS c1, 0 AS c2 \
             FROM {}{base_condition}\n{union}\nSELECT r.c0, CAST({to} AS {node_type}), {more} \
             FROM r {kind} {} ON r.c1 {operator} {from}{extra} WHERE r.c1 IS NOT NULL{end}) \
             SELECT c0, c1 FROM r",
            sql_type(carried),
            base.sql,
            edges.sql,
        );
        Some((sql, vec![carried, node]))
    }
}
