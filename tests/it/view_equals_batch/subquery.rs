//! Subqueries that read the query around them, and LATERAL.

use rand::Rng;

use super::expression::{Column, Type};
use super::query::{Generator, Source, sql_type};

impl Generator<'_> {
    /// `outer` beside what is computed for each of its rows.
    pub(super) fn lateral(&mut self, outer: Source, depth: usize) -> Source {
        let alias = self.alias();
        let (sql, types) = match self.random.random_range(0..5) {
            0 => self.elements(&outer, &alias),
            1 => self.row_of(&outer, &alias),
            2 => self.totals_of(&outer, &alias, depth),
            _ => self.rows_of(&outer, &alias, depth),
        };
        let column = |(i, t): (usize, &Type)| Column { sql: format!("{alias}.c{i}"), data_type: *t };
        let columns = outer.columns.iter().cloned().chain(types.iter().enumerate().map(column)).collect();
        Source { sql: format!("{} {sql}", outer.sql), columns }
    }

    /// Elements of a list of values of a row.
    fn elements(&mut self, outer: &Source, alias: &str) -> (String, Vec<Type>) {
        let mut expressions = self.expressions(&outer.columns);
        let data_type = expressions.column_type();
        let (a, b) = (expressions.scalar(data_type, 1), expressions.scalar(data_type, 0));
        let list = match self.random.random_range(0..4) {
            0 => format!("array_remove([{a}, {b}], {b})"),
            1 => format!("CASE WHEN {a} IS NULL THEN NULL ELSE [{b}, {a}] END"),
            _ => format!("[{a}, {b}]"),
        };
        match self.random.random_range(0..3) {
            0 => (format!("LEFT JOIN UNNEST({list}) AS {alias}(c0) ON true"), vec![data_type]),
            1 => {
                let sql = format!("CROSS JOIN UNNEST({list}) WITH ORDINALITY AS {alias}(c0, c1)");
                (sql, vec![data_type, Type::Int])
            }
            _ => (format!("CROSS JOIN UNNEST({list}) AS {alias}(c0)"), vec![data_type]),
        }
    }

    /// An expression of a row.
    fn row_of(&mut self, outer: &Source, alias: &str) -> (String, Vec<Type>) {
        let mut expressions = self.expressions(&outer.columns);
        let data_type = expressions.column_type();
        let (value, condition) = (expressions.scalar(data_type, 2), expressions.predicate(1));
        (format!("CROSS JOIN LATERAL (SELECT {value} AS c0 WHERE {condition}) AS {alias}"), vec![data_type])
    }

    /// Aggregates of what a row equals or is compared with.
    fn totals_of(&mut self, outer: &Source, alias: &str, depth: usize) -> (String, Vec<Type>) {
        let inner = self.relation(depth);
        let correlated = self.correlation(outer, &inner);
        let (aggregate, data_type) = self.expressions(&inner.columns).aggregate();
        let group =
            self.random.random_ratio(1, 3).then(|| self.expressions(&inner.columns).scalar(data_type, 0));
        let (group, types) = match group {
            Some(group) => {
                (format!(", {group} AS c2 FROM {} WHERE {correlated} GROUP BY {group}", inner.sql), true)
            }
            None => (format!(" FROM {} WHERE {correlated}", inner.sql), false),
        };
        let join = ["CROSS JOIN", "LEFT JOIN"][self.random.random_range(0..2)];
        let on = if join == "LEFT JOIN" { " ON true" } else { "" };
        let sql = format!("{join} LATERAL (SELECT {aggregate} AS c0, count(*) AS c1{group}) AS {alias}{on}");
        (sql, [data_type, Type::Int].into_iter().chain(types.then_some(data_type)).collect())
    }

    /// The rows that a row equals or is compared with, or the first of them.
    fn rows_of(&mut self, outer: &Source, alias: &str, depth: usize) -> (String, Vec<Type>) {
        let inner = self.relation(depth);
        let correlated = self.correlation(outer, &inner);
        let columns: Vec<Column> = outer.columns.iter().chain(&inner.columns).cloned().collect();
        let data_type = self.expressions(&columns).column_type();
        let value = self.expressions(&columns).scalar(data_type, 1);
        let distinct = if self.random.random_ratio(1, 4) { "DISTINCT " } else { "" };
        let limit = ["", "", " ORDER BY 1 LIMIT 1", " ORDER BY 1 DESC LIMIT 2 OFFSET 1"];
        let limit = limit[self.random.random_range(0..limit.len())];
        let rows = format!("SELECT {distinct}{value} AS c0 FROM {} WHERE {correlated}{limit}", inner.sql);
        let sql = match self.random.random_range(0..3) {
            0 => format!("LEFT JOIN LATERAL ({rows}) AS {alias} ON {alias}.c0 IS NOT NULL"),
            1 => format!("LEFT JOIN LATERAL ({rows}) AS {alias} ON true"),
            _ => format!("CROSS JOIN LATERAL ({rows}) AS {alias}"),
        };
        (sql, vec![data_type])
    }

    /// A condition on rows of both.
    fn correlation(&mut self, outer: &Source, inner: &Source) -> String {
        let equality = self.equality(outer, inner).filter(|_| self.random.random_ratio(3, 4));
        let columns: Vec<Column> = outer.columns.iter().chain(&inner.columns).cloned().collect();
        equality.unwrap_or_else(|| self.expressions(&columns).predicate(1))
    }

    /// A value of another relation, and its type.
    pub(super) fn value_of(&mut self, outer: &Source, depth: usize) -> (String, Type) {
        let inner = self.relation(depth);
        let correlated = self.correlation(outer, &inner);
        let data_type = self.expressions(&inner.columns).column_type();
        let value = self.expressions(&inner.columns).scalar(data_type, 1);
        let from = format!("FROM {} WHERE {correlated}", inner.sql);
        let sql = match self.random.random_range(0..5) {
            // There may be several.
            0 | 1 if self.may_fail() => format!("(SELECT {value} {from})"),
            0 => format!("(SELECT {value} {from} ORDER BY 1 LIMIT 1)"),
            1 => return (format!("(SELECT count(*) {from})"), Type::Int),
            2 => return (format!("(SELECT count({value}) + 1 {from} HAVING count(*) <> 1)"), Type::Int),
            3 => format!("(SELECT max({value}) FROM {})", inner.sql),
            _ => format!("(SELECT min({value}) {from})"),
        };
        (format!("CAST({sql} AS {})", sql_type(data_type)), data_type)
    }

    /// A condition that a subquery makes true, false or unknown.
    pub(super) fn membership(&mut self, outer: &Source, depth: usize) -> String {
        let inner = self.relation(depth);
        let data_type = self.expressions(&outer.columns).column_type();
        let mine = self.expressions(&outer.columns).scalar(data_type, 1);
        let theirs = self.expressions(&inner.columns).scalar(data_type, 1);
        let correlated = match self.random.random_range(0..3) {
            0 => self.correlation(outer, &inner),
            1 => self.expressions(&inner.columns).predicate(1),
            _ => "true".to_owned(),
        };
        let rows = format!("(SELECT {theirs} FROM {} WHERE {correlated})", inner.sql);
        let exists = format!("EXISTS (SELECT 1 FROM {} WHERE {correlated})", inner.sql);
        match self.random.random_range(0..7) {
            0 => format!("({mine}) NOT IN {rows}"),
            1 => format!("NOT (({mine}) IN {rows} OR {})", self.expressions(&outer.columns).predicate(1)),
            2 => format!("(({mine}) IN {rows}) IS NULL"),
            3 => format!("({mine}) > ANY {rows}"),
            4 => format!("({mine}) <= ALL {rows}"),
            5 => format!("({exists} OR {})", self.expressions(&outer.columns).predicate(1)),
            _ => format!("NOT {exists}"),
        }
    }
}
