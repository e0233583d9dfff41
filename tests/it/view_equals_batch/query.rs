//! Random queries.

mod recursion;

use rand::Rng;
use rand::rngs::StdRng;

use super::data::TABLES;
use super::expression::{Column, Expressions, TYPES, Type};
use undercurrent::telemetry::Table;

/// Something with columns: a query in parentheses, a table or a view.
#[derive(Clone)]
pub(super) struct Source {
    pub sql: String,
    pub columns: Vec<Column>,
}

/// A query and the types of its columns, which are called `c0`, `c1` and so on.
pub type Query = (String, Vec<Type>);

/// A table with what expressions make of its columns.
pub type Named = (String, Vec<(String, Type)>);

/// The stream tables.
pub fn streams() -> Vec<Named> {
    let named = |(column, data_type): (&str, Type)| (column.to_owned(), data_type);
    TABLES.iter().map(|t| (t.name().to_owned(), columns_of(*t).into_iter().map(named).collect())).collect()
}

/// Makes queries over some tables and over the views that it made before.
pub struct Generator<'a> {
    pub random: &'a mut StdRng,
    tables: Vec<Named>,
    views: Vec<(String, Vec<Type>)>,
    aliases: usize,
    may_fail: bool,
}

fn columns_of(table: Table) -> Vec<(&'static str, Type)> {
    use Type::{Bool, Float, Int, Text, Time};
    match table {
        Table::Logs => vec![
            ("ts", Time),
            ("observed_at", Time),
            ("severity_number", Int),
            ("severity_text", Text),
            ("body", Text),
            ("trace_id", Text),
            ("span_id", Text),
            ("service_name", Text),
            ("attributes['k']", Text),
        ],
        Table::Spans => vec![
            ("trace_id", Text),
            ("span_id", Text),
            ("parent_span_id", Text),
            ("service_name", Text),
            ("name", Text),
            ("kind", Text),
            ("started_at", Time),
            ("duration_ns", Int),
            ("status_code", Text),
            ("attributes['route']", Text),
        ],
        _ => vec![
            ("name", Text),
            ("unit", Text),
            ("is_monotonic", Bool),
            ("service_name", Text),
            ("ts", Time),
            ("value", Float),
            ("value_int", Int),
            ("count", Int),
            ("sum", Float),
            ("attributes['k']", Text),
        ],
    }
}

impl<'a> Generator<'a> {
    pub fn new(random: &'a mut StdRng, tables: Vec<Named>) -> Self {
        Generator { random, tables, views: vec![], aliases: 0, may_fail: false }
    }

    /// A query for the view `name`, which later queries may read.
    pub fn view(&mut self, name: &str) -> String {
        self.may_fail = self.random.random_ratio(1, 12);
        let (sql, types) = self.query(2);
        // A view that fails makes its readers fail; they would test nothing else.
        if !self.may_fail {
            self.views.push((name.to_owned(), types));
        }
        sql
    }

    /// Whether expressions may fail for some rows.
    pub(super) fn may_fail(&self) -> bool {
        self.may_fail
    }

    pub(super) fn expressions<'b>(&'b mut self, columns: &'b [Column]) -> Expressions<'b> {
        Expressions { random: self.random, columns, may_fail: self.may_fail }
    }

    fn query(&mut self, depth: usize) -> Query {
        if depth > 0 && self.random.random_ratio(1, 6) {
            return self.union(depth - 1);
        }
        if depth > 0
            && self.random.random_ratio(1, 12)
            && let Some(recursion) = self.recursion(depth - 1)
        {
            return recursion;
        }
        let source = self.source(depth);
        let query = match self.random.random_range(0..6) {
            0 | 1 => self.projection(&source, depth),
            2 => self.windows(&source, depth),
            _ => self.aggregation(&source, depth),
        };
        if self.random.random_ratio(1, 8) { self.first_rows(query) } else { query }
    }

    /// Two queries of the same types, one below the other.
    fn union(&mut self, depth: usize) -> Query {
        let types: Vec<Type> = (0..self.random.random_range(1..=3)).map(|_| self.any_type()).collect();
        let parts: Vec<String> = (0..2)
            .map(|_| {
                let source = self.source(depth);
                let select = types.iter().enumerate().map(|(i, t)| {
                    let sql = self.expressions(&source.columns).scalar(*t, 1);
                    format!("CAST({sql} AS {}) AS c{i}", sql_type(*t))
                });
                let select = select.collect::<Vec<_>>().join(", ");
                format!("SELECT {select} FROM {}{}", source.sql, self.condition(&source, depth))
            })
            .collect();
        let operations = ["UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"];
        let operation = operations[self.random.random_range(0..operations.len())];
        (parts.join(&format!("\n{operation}\n")), types)
    }

    fn any_type(&mut self) -> Type {
        TYPES[self.random.random_range(0..TYPES.len())]
    }

    fn projection(&mut self, source: &Source, depth: usize) -> Query {
        let (mut select, mut types) = (vec![], vec![]);
        for i in 0..self.random.random_range(1..=4) {
            let mut expressions = self.expressions(&source.columns);
            let data_type = expressions.column_type();
            select.push(format!("{} AS c{i}", expressions.scalar(data_type, 2)));
            types.push(data_type);
        }
        if self.random.random_ratio(1, 6) {
            let (value, data_type) = self.value_of(source, depth.saturating_sub(1));
            select.push(format!("{value} AS c{}", types.len()));
            types.push(data_type);
        }
        let distinct = if self.random.random_ratio(1, 3) { "DISTINCT " } else { "" };
        let condition = self.condition(source, depth);
        (format!("SELECT {distinct}{} FROM {}{condition}", select.join(", "), source.sql), types)
    }

    fn aggregation(&mut self, source: &Source, depth: usize) -> Query {
        let (mut select, mut types, mut grouped) = (vec![], vec![], vec![]);
        let groups = self.random.random_range(0..=2);
        for i in 0..groups {
            let mut expressions = self.expressions(&source.columns);
            let data_type = expressions.column_type();
            let sql = expressions.scalar(data_type, 1);
            select.push(format!("{sql} AS c{i}"));
            types.push(data_type);
            grouped.push(sql);
        }
        for i in 0..self.random.random_range(1..=3) {
            let (sql, data_type) = self.expressions(&source.columns).aggregate();
            select.push(format!("{sql} AS c{}", groups + i));
            types.push(data_type);
        }
        let condition = self.condition(source, depth);
        let mut sql = format!("SELECT {} FROM {}{condition}", select.join(", "), source.sql);
        if groups > 0 {
            sql += &format!(" GROUP BY {}", self.groups(&grouped));
        }
        if self.random.random_ratio(1, 4) {
            let having = ["count(*) > 1", "count(*) < 3", "count(DISTINCT 1) = 1"];
            sql += &format!(" HAVING {}", having[self.random.random_range(0..having.len())]);
        }
        (self.current_groups(sql, &types[..groups]), types)
    }

    /// The columns of a SELECT by their places, or sets of its expressions `grouped`.
    fn groups(&mut self, grouped: &[String]) -> String {
        let is_distinct = grouped.iter().all(|sql| grouped.iter().filter(|other| *other == sql).count() == 1);
        if is_distinct && self.random.random_ratio(1, 5) {
            return match (self.random.random_range(0..3), grouped) {
                (0, all) => format!("ROLLUP ({})", all.join(", ")),
                (1, all) => format!("CUBE ({})", all.join(", ")),
                (_, [first, rest @ ..]) => {
                    let rest = rest.iter().map(|sql| format!(", ({sql})"));
                    format!("GROUPING SETS (({first}){}, ({first}))", rest.collect::<String>())
                }
                (_, []) => "()".to_owned(),
            };
        }
        let places: Vec<String> = (1..=grouped.len()).map(|i| i.to_string()).collect();
        places.join(", ")
    }

    /// At times only those groups of `sql` for which a comparison of `now()` with their time holds.
    fn current_groups(&mut self, sql: String, groups: &[Type]) -> String {
        let is_time = |(i, t): (usize, &Type)| {
            (*t == Type::Time).then(|| Column { sql: format!("c{i}"), data_type: Type::Time })
        };
        let times: Vec<Column> = groups.iter().enumerate().filter_map(is_time).collect();
        let condition = match self.random.random_ratio(1, 2) {
            true => self.expressions(&times).now(),
            false => None,
        };
        match condition {
            Some(condition) => format!("SELECT * FROM ({sql}) AS {} WHERE {condition}", self.alias()),
            None => sql,
        }
    }

    pub(super) fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    /// What a query reads: a relation, a query or a join.
    fn source(&mut self, depth: usize) -> Source {
        let source = if depth > 0 && self.random.random_ratio(2, 5) {
            self.join(depth - 1)
        } else {
            self.relation(depth)
        };
        if depth > 0 && self.random.random_ratio(1, 8) { self.lateral(source, depth - 1) } else { source }
    }

    pub(super) fn relation(&mut self, depth: usize) -> Source {
        let alias = self.alias();
        let named = |types: &[Type]| {
            let column = |(i, t): (usize, &Type)| Column { sql: format!("{alias}.c{i}"), data_type: *t };
            types.iter().enumerate().map(column).collect()
        };
        if !self.views.is_empty() && self.random.random_ratio(1, 2) {
            let (name, types) = &self.views[self.random.random_range(0..self.views.len())];
            return Source { sql: format!("{name} {alias}"), columns: named(types) };
        }
        if depth > 0 && self.random.random_ratio(1, 3) {
            let (sql, types) = self.query(depth - 1);
            return Source { sql: format!("({sql}) {alias}"), columns: named(&types) };
        }
        let (name, columns) = &self.tables[self.random.random_range(0..self.tables.len())];
        let column = |(name, data_type): &(String, Type)| Column {
            sql: format!("{alias}.{name}"),
            data_type: *data_type,
        };
        Source { sql: format!("{name} {alias}"), columns: columns.iter().map(column).collect() }
    }

    fn join(&mut self, depth: usize) -> Source {
        let (left, right) = (self.relation(depth), self.relation(depth));
        let mut conditions = vec![];
        for _ in 0..self.random.random_range(1..=2) {
            conditions.extend(self.equality(&left, &right));
        }
        let columns: Vec<Column> = left.columns.iter().chain(&right.columns).cloned().collect();
        if conditions.is_empty() || self.random.random_ratio(1, 3) {
            conditions.push(self.expressions(&columns).predicate(1));
        }
        let kinds = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"];
        let kind = kinds[self.random.random_range(0..kinds.len())];
        Source { sql: format!("{} {kind} {} ON {}", left.sql, right.sql, conditions.join(" AND ")), columns }
    }

    /// `left.x = right.y`, of a type that both have.
    pub(super) fn equality(&mut self, left: &Source, right: &Source) -> Option<String> {
        let data_type = self.expressions(&left.columns).column_type();
        let mine = self.expressions(&left.columns).column(data_type)?;
        let theirs = self.expressions(&right.columns).column(data_type)?;
        let operator = if self.random.random_ratio(1, 10) { "IS NOT DISTINCT FROM" } else { "=" };
        Some(format!("({mine} {operator} ({theirs}))"))
    }

    /// A WHERE clause, or none.
    pub fn condition(&mut self, source: &Source, depth: usize) -> String {
        let mut conditions = vec![];
        if self.random.random_ratio(2, 5) {
            conditions.push(self.expressions(&source.columns).predicate(2));
        }
        if self.random.random_ratio(1, 6) {
            conditions.extend(self.expressions(&source.columns).now());
        }
        if self.random.random_ratio(1, 5) {
            conditions.extend(self.subquery(source, depth.saturating_sub(1)));
        }
        if self.random.random_ratio(1, 10) {
            conditions.push(self.membership(source, depth.saturating_sub(1)));
        }
        if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
    }

    /// A condition on another relation.
    fn subquery(&mut self, outer: &Source, depth: usize) -> Option<String> {
        let inner = self.relation(depth);
        let correlated = self.equality(outer, &inner)?;
        let data_type = self.expressions(&outer.columns).column_type();
        let mine = self.expressions(&outer.columns).column(data_type)?;
        let not = if self.random.random_ratio(1, 3) { "NOT " } else { "" };
        Some(match self.random.random_range(0..5) {
            0 | 1 => {
                let rest = self.expressions(&inner.columns).predicate(1);
                format!("{not}EXISTS (SELECT 1 FROM {} WHERE {correlated} AND {rest})", inner.sql)
            }
            2 => {
                let theirs = self.expressions(&inner.columns).scalar(data_type, 1);
                format!("{mine} IN (SELECT {theirs} FROM {})", inner.sql)
            }
            3 => {
                let theirs = self.expressions(&inner.columns).scalar(data_type, 1);
                format!("{mine} >= (SELECT min({theirs}) FROM {})", inner.sql)
            }
            _ => format!("(SELECT count(*) FROM {} WHERE {correlated}) > 1", inner.sql),
        })
    }
}

pub(super) fn sql_type(data_type: Type) -> &'static str {
    match data_type {
        Type::Int => "bigint",
        Type::Float => "double",
        Type::Text => "text",
        Type::Time => "timestamptz",
        Type::Bool => "boolean",
    }
}
