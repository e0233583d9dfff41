//! Window functions and first rows in random queries.

use rand::Rng;

use super::expression::{Column, Expressions, Type};
use super::query::{Generator, Query, Source};

const FRAMES: [&str; 9] = [
    "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
    "ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
    "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
    "ROWS UNBOUNDED PRECEDING",
    "RANGE UNBOUNDED PRECEDING",
    "RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
    "RANGE CURRENT ROW",
    "GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
    "GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
];

impl Expressions<'_> {
    fn order(&mut self, columns: usize) -> String {
        let order = (0..columns).map(|_| {
            let data_type = self.column_type();
            let direction = ["", " DESC", " NULLS FIRST", " DESC NULLS LAST"][self.random.random_range(0..4)];
            format!("{}{direction}", self.scalar(data_type, 1))
        });
        order.collect::<Vec<_>>().join(", ")
    }

    fn partition(&mut self) -> String {
        let keys = (0..self.random.random_range(0..=2)).map(|_| {
            let data_type = self.column_type();
            self.scalar(data_type, 1)
        });
        match keys.collect::<Vec<_>>().join(", ") {
            keys if keys.is_empty() => keys,
            keys => format!("PARTITION BY {keys} "),
        }
    }

    /// A window function and its type.
    fn window(&mut self) -> (String, Type) {
        let any = self.column_type();
        let (function, data_type, has_frame) = match self.random.random_range(0..12) {
            0 | 1 => ("row_number()".to_owned(), Type::Int, false),
            2 => ("rank()".to_owned(), Type::Int, false),
            3 => ("dense_rank()".to_owned(), Type::Int, false),
            4 => ("cume_dist()".to_owned(), Type::Float, false),
            5 => ("ntile(3)".to_owned(), Type::Int, false),
            6 => {
                let function = if self.random.random() { "lag" } else { "lead" };
                (
                    format!("{function}({}, {})", self.scalar(any, 1), self.random.random_range(1..=2)),
                    any,
                    false,
                )
            }
            7 => (format!("first_value({})", self.scalar(any, 1)), any, true),
            8 => (format!("last_value({})", self.scalar(any, 1)), any, true),
            9 => (format!("nth_value({}, 2)", self.scalar(any, 1)), any, true),
            _ => {
                let (sql, data_type) = self.aggregate();
                (sql.replace("DISTINCT ", ""), data_type, true)
            }
        };
        let partition = self.partition();
        let columns = self.random.random_range(0..=2);
        let order = self.order(columns);
        let order = if order.is_empty() { order } else { format!("ORDER BY {order} ") };
        let frame = match has_frame && !order.is_empty() && self.random.random() {
            true => FRAMES[self.random.random_range(0..FRAMES.len())],
            false => "",
        };
        let sql = format!("{function} OVER ({partition}{order}{frame})");
        // Numbers of rows are unsigned, and would not mix with others.
        let sql = if data_type == Type::Int { format!("CAST({sql} AS bigint)") } else { sql };
        (sql, data_type)
    }
}

impl Generator<'_> {
    /// Columns of `source` and window functions over it.
    pub fn windows(&mut self, source: &Source, depth: usize) -> Query {
        let (mut select, mut types) = (vec![], vec![]);
        for _ in 0..self.random.random_range(1..=3) {
            let mut expressions = self.expressions(&source.columns);
            let data_type = expressions.column_type();
            select.push(expressions.scalar(data_type, 1));
            types.push(data_type);
        }
        for _ in 0..self.random.random_range(1..=2) {
            let (sql, data_type) = self.expressions(&source.columns).window();
            select.push(sql);
            types.push(data_type);
        }
        let select = select.into_iter().enumerate().map(|(i, sql)| format!("{sql} AS c{i}"));
        let select = select.collect::<Vec<_>>().join(", ");
        let condition = self.condition(source, depth);
        (format!("SELECT {select} FROM {}{condition}", source.sql), types)
    }

    /// The first rows of `query`, in all or of each group.
    pub fn first_rows(&mut self, (sql, types): Query) -> Query {
        let column = |(i, t): (usize, &Type)| Column { sql: format!("c{i}"), data_type: *t };
        let columns: Vec<Column> = types.iter().enumerate().map(column).collect();
        let names = columns.iter().map(|c| c.sql.as_str()).collect::<Vec<_>>().join(", ");
        let alias = self.alias();
        let (rows, limit) = (self.random.random_range(0..=4), self.random.random_range(1..=3));
        let offset = if self.random.random_ratio(1, 3) { format!(" OFFSET {rows}") } else { String::new() };
        let mut expressions = self.expressions(&columns);
        let (key, order) = (expressions.order(1), expressions.order(1));
        let sql = match self.random.random_range(0..5) {
            0 => format!("SELECT * FROM ({sql}) {alias} LIMIT {limit}{offset}"),
            1 | 2 => format!("SELECT * FROM ({sql}) {alias} ORDER BY {order} LIMIT {limit}{offset}"),
            3 => {
                let key = key
                    .split(" DESC")
                    .next()
                    .and_then(|k| k.split(" NULLS").next())
                    .unwrap_or(&key)
                    .to_owned();
                format!("SELECT DISTINCT ON ({key}) {names} FROM ({sql}) {alias} ORDER BY {key}, {order}")
            }
            _ => {
                let partition = self.expressions(&columns).partition();
                let number = if self.random.random() { "row_number" } else { "rank" };
                format!(
                    "SELECT {names} FROM (SELECT *, {number}() OVER ({partition}ORDER BY {order}) AS n FROM ({sql}) {alias}) numbered_{alias} WHERE n <= {limit}"
                )
            }
        };
        (sql, types)
    }
}
