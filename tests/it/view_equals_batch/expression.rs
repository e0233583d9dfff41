//! Random expressions over the columns of a relation.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Int,
    Float,
    Text,
    Time,
    Bool,
}

pub const TYPES: [Type; 5] = [Type::Int, Type::Float, Type::Text, Type::Time, Type::Bool];

/// A column that expressions can name.
#[derive(Clone, Debug)]
pub struct Column {
    pub sql: String,
    pub data_type: Type,
}

/// Makes expressions over some columns.
pub struct Expressions<'a> {
    pub random: &'a mut StdRng,
    pub columns: &'a [Column],
    /// Whether expressions may fail for some rows.
    pub may_fail: bool,
}

impl Expressions<'_> {
    fn pick<'b>(&mut self, choices: &[&'b str]) -> &'b str {
        choices.choose(self.random).copied().unwrap_or("")
    }

    /// A column of `data_type`, if there is one.
    pub fn column(&mut self, data_type: Type) -> Option<String> {
        let fitting: Vec<&Column> = self.columns.iter().filter(|c| c.data_type == data_type).collect();
        fitting.choose(self.random).map(|c| c.sql.clone())
    }

    /// A type that some column has.
    pub fn column_type(&mut self) -> Type {
        self.columns.choose(self.random).map_or(Type::Int, |c| c.data_type)
    }

    fn literal(&mut self, data_type: Type) -> String {
        match data_type {
            Type::Int => self.pick(&["0", "1", "2", "(-3)", "17"]),
            Type::Float => {
                self.pick(&["0.0", "1.5", "(-1.5)", "0.1", "'NaN'::double", "(-0.0)", "NULL::double"])
            }
            Type::Text => self.pick(&["'web'", "'cart'", "''", "'a'", "'Ab'", "'s1'", "NULL::text"]),
            Type::Time => {
                self.pick(&["'1970-01-01T00:00:20Z'::timestamptz", "'1970-01-01T00:00:40.5Z'::timestamptz"])
            }
            Type::Bool => self.pick(&["true", "false", "NULL::boolean"]),
        }
        .to_owned()
    }

    /// An expression of `data_type`.
    pub fn scalar(&mut self, data_type: Type, depth: usize) -> String {
        if depth == 0 || self.random.random_ratio(2, 5) {
            let column = if self.random.random_ratio(9, 10) { self.column(data_type) } else { None };
            return column.unwrap_or_else(|| self.literal(data_type));
        }
        match data_type {
            Type::Int => self.int(depth - 1),
            Type::Float => self.float(depth - 1),
            Type::Text => self.text(depth - 1),
            Type::Time => self.time(depth - 1),
            Type::Bool => self.predicate(depth - 1),
        }
    }

    /// One of two, or one where the other is null.
    fn choice(&mut self, data_type: Type, depth: usize) -> String {
        let (a, b) = (self.scalar(data_type, depth), self.scalar(data_type, depth));
        match self.random.random_range(0..3) {
            0 => format!("coalesce({a}, {b})"),
            1 => format!("nullif({a}, {b})"),
            _ => format!("CASE WHEN {} THEN {a} ELSE {b} END", self.predicate(depth)),
        }
    }

    fn int(&mut self, depth: usize) -> String {
        match self.random.random_range(0..8) {
            0 => format!("({} + {})", self.scalar(Type::Int, depth), self.literal(Type::Int)),
            1 => format!("({} - {})", self.scalar(Type::Int, depth), self.scalar(Type::Int, depth)),
            2 => format!("length({})", self.scalar(Type::Text, depth)),
            3 => format!("({} % 3)", self.scalar(Type::Int, depth)),
            4 => format!("date_part('second', {})::bigint", self.scalar(Type::Time, depth)),
            5 if self.may_fail => {
                format!("({} / {})", self.scalar(Type::Int, depth), self.scalar(Type::Int, depth))
            }
            6 if self.may_fail => format!("CAST({} AS bigint)", self.scalar(Type::Text, depth)),
            _ => self.choice(Type::Int, depth),
        }
    }

    fn float(&mut self, depth: usize) -> String {
        match self.random.random_range(0..6) {
            0 => format!("({} + {})", self.scalar(Type::Float, depth), self.scalar(Type::Float, depth)),
            1 => format!("({} * {})", self.scalar(Type::Float, depth), self.scalar(Type::Float, depth)),
            2 => format!("({} / 4.0)", self.scalar(Type::Int, depth)),
            3 => format!("abs({})", self.scalar(Type::Float, depth)),
            4 => format!("(- {})", self.scalar(Type::Float, depth)),
            _ => self.choice(Type::Float, depth),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        match self.random.random_range(0..6) {
            0 => format!("upper({})", self.scalar(Type::Text, depth)),
            1 => format!("({} || '-' || {})", self.scalar(Type::Text, depth), self.scalar(Type::Text, depth)),
            2 => format!("substr({}, 1, 2)", self.scalar(Type::Text, depth)),
            3 => format!("CAST({} AS text)", self.scalar(Type::Int, depth)),
            4 => format!("concat({}, {})", self.scalar(Type::Text, depth), self.scalar(Type::Int, depth)),
            _ => self.choice(Type::Text, depth),
        }
    }

    fn time(&mut self, depth: usize) -> String {
        match self.random.random_range(0..4) {
            0 => format!("date_bin(INTERVAL '10 seconds', {})", self.scalar(Type::Time, depth)),
            1 => format!("date_trunc('minute', {})", self.scalar(Type::Time, depth)),
            2 => format!("({} + INTERVAL '7 seconds')", self.scalar(Type::Time, depth)),
            _ => self.choice(Type::Time, depth),
        }
    }

    /// A condition.
    pub fn predicate(&mut self, depth: usize) -> String {
        if depth > 0 && self.random.random_ratio(1, 3) {
            let (a, b) = (self.predicate(depth - 1), self.predicate(depth - 1));
            return match self.random.random_range(0..3) {
                0 => format!("({a} AND {b})"),
                1 => format!("({a} OR {b})"),
                _ => format!("(NOT {a})"),
            };
        }
        let data_type = self.column_type();
        let left = self.scalar(data_type, depth);
        match self.random.random_range(0..8) {
            0 => format!("({left} IS NULL)"),
            1 => format!("({left} IS NOT NULL)"),
            2 => format!("({left} IN ({}, {}))", self.literal(data_type), self.literal(data_type)),
            3 => {
                format!("({left} BETWEEN {} AND {})", self.literal(data_type), self.scalar(data_type, depth))
            }
            4 => format!("({left} IS DISTINCT FROM ({}))", self.scalar(data_type, depth)),
            5 if data_type == Type::Text => {
                format!("({left} LIKE {})", self.pick(&["'%b'", "'a%'", "''", "'_%'"]))
            }
            _ => {
                let operator = self.pick(&["=", "<>", "<", "<=", ">", ">="]);
                format!("({left} {operator} {})", self.scalar(data_type, depth))
            }
        }
    }

    /// A condition on `now()`, where there is a time to compare.
    pub fn now(&mut self) -> Option<String> {
        let comparison = self.comparison_with_now()?;
        Some(match self.random.random_range(0..6) {
            0 => format!("({comparison} OR {})", self.predicate(0)),
            1 => format!("NOT ({comparison} AND {})", self.predicate(0)),
            2 => format!("({comparison} OR {})", self.comparison_with_now()?),
            _ => comparison,
        })
    }

    fn comparison_with_now(&mut self) -> Option<String> {
        let time = self.column(Type::Time)?;
        let operator = self.pick(&["<", "<=", ">", ">="]);
        let interval = self.pick(&["10 seconds", "1 minute", "1500 milliseconds", "0 seconds"]);
        Some(match self.random.random_range(0..11) {
            0 => format!("{time} {operator} now()"),
            1 => format!("{time} {operator} now() - INTERVAL '{interval}'"),
            2 => format!("now() {operator} {time} + INTERVAL '{interval}'"),
            3 => format!("now() - {time} {operator} INTERVAL '{interval}'"),
            4 => format!("{time} - now() {operator} INTERVAL '{interval}'"),
            5 => format!("{time} BETWEEN now() - INTERVAL '{interval}' AND now()"),
            6 => format!("{time} {operator} date_trunc('minute', now()) - INTERVAL '{interval}'"),
            7 => format!("date_bin(INTERVAL '10 seconds', now()) {operator} {time} - INTERVAL '{interval}'"),
            8 => {
                format!("date_trunc('second', {time}) = date_trunc('second', now() - INTERVAL '{interval}')")
            }
            9 => format!("{time} + INTERVAL '1 month' {operator} now() + INTERVAL '1 month'"),
            _ => format!("now() - INTERVAL '{interval}' {operator} date_bin(INTERVAL '10 seconds', {time})"),
        })
    }

    /// An aggregate and its type.
    pub fn aggregate(&mut self) -> (String, Type) {
        let any = self.column_type();
        let (sql, data_type) = match self.random.random_range(0..19) {
            0 => ("count(*)".to_owned(), Type::Int),
            1 => (format!("count({})", self.scalar(any, 1)), Type::Int),
            2 => (format!("count(DISTINCT {})", self.scalar(any, 1)), Type::Int),
            3 => (format!("sum({})", self.scalar(Type::Int, 1)), Type::Int),
            4 => (format!("sum({})", self.scalar(Type::Float, 1)), Type::Float),
            5 => (format!("avg({})", self.scalar(Type::Int, 1)), Type::Float),
            6 => (format!("avg({})", self.scalar(Type::Float, 1)), Type::Float),
            7 => (
                format!("{}(DISTINCT {})", self.pick(&["sum", "avg"]), self.scalar(Type::Float, 1)),
                Type::Float,
            ),
            8 => (
                format!("{}({})", self.pick(&["bool_and", "bool_or"]), self.scalar(Type::Bool, 1)),
                Type::Bool,
            ),
            9 => {
                let function = self.pick(&["stddev", "stddev_pop", "var_samp", "var_pop"]);
                (format!("{function}({})", self.scalar(Type::Float, 1)), Type::Float)
            }
            10 => {
                let rank = self.pick(&["0.5", "0.95", "0", "1"]);
                (format!("approx_percentile({}, {rank})", self.scalar(Type::Float, 1)), Type::Float)
            }
            11..=15 => return self.ordered_or_paired_aggregate(any),
            _ => (format!("{}({})", self.pick(&["min", "max"]), self.scalar(any, 1)), any),
        };
        (sql + &self.filter(), data_type)
    }

    /// A FILTER, or none.
    fn filter(&mut self) -> String {
        match self.random.random_ratio(1, 4) {
            true => format!(" FILTER (WHERE {})", self.predicate(1)),
            false => String::new(),
        }
    }

    /// An aggregate of those that depend on an order, that sort, that take pairs or that combine bits.
    fn ordered_or_paired_aggregate(&mut self, any: Type) -> (String, Type) {
        let value = self.scalar(any, 1);
        let order = match self.random.random_ratio(1, 2) {
            true => format!(" ORDER BY {} {}", self.scalar(any, 1), self.pick(&["", "DESC", "NULLS FIRST"])),
            false => String::new(),
        };
        let (call, data_type) = match self.random.random_range(0..10) {
            0 => (format!("array_agg({value}{order})"), Type::Text),
            1 => (format!("array_agg(DISTINCT {value})"), Type::Text),
            2 => (format!("string_agg({}, ','{order})", self.scalar(Type::Text, 1)), Type::Text),
            3 => (format!("{}({value}{order})", self.pick(&["first_value", "last_value", "any_value"])), any),
            4 => (format!("nth_value({value}, {}{order})", self.pick(&["1", "2", "-1"])), any),
            5 => {
                let function = self.pick(&["median", "median", "approx_median"]);
                (format!("{function}({})", self.scalar(Type::Float, 1)), Type::Float)
            }
            6 => {
                let (rank, way) = (self.pick(&["0.5", "0.9", "0"]), self.pick(&["", " DESC"]));
                let value = self.scalar(Type::Float, 1);
                (format!("percentile_cont({rank}) WITHIN GROUP (ORDER BY {value}{way})"), Type::Float)
            }
            7 => {
                let function = self.pick(&["corr", "covar_samp", "covar_pop", "regr_slope", "regr_syy"]);
                let (y, x) = (self.scalar(Type::Float, 1), self.scalar(Type::Int, 1));
                (format!("{function}({y}, {x})"), Type::Float)
            }
            8 => (format!("approx_distinct({value})"), Type::Int),
            _ => {
                let function = self.pick(&["bit_and(", "bit_or(", "bit_xor(", "bit_xor(DISTINCT "]);
                (format!("{function}{})", self.scalar(Type::Int, 1)), Type::Int)
            }
        };
        let filtered = call.clone() + &self.filter();
        let sql = match call.split_once('(') {
            Some(("array_agg", _)) => format!("array_to_string({filtered}, ';', 'null')"),
            Some(("approx_distinct", _)) => format!("CAST({filtered} AS bigint)"),
            _ => filtered,
        };
        (sql, data_type)
    }
}
