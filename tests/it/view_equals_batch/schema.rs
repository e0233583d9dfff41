//! Random tables of users, and what random statements do to their rows.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::expression::{Column, Expressions, Type};

/// The most tables of a case, and the most columns of one.
const TABLES_MAX: usize = 4;
const COLUMNS_MAX: usize = 6;

/// SQL types, as what expressions take them, and their values.
const COLUMN_TYPES: [(&str, Type, &[&str]); 10] = [
    ("bigint", Type::Int, &["0", "1", "2", "-3", "17", "9007199254740993"]),
    ("integer", Type::Int, &["0", "1", "2", "-3", "17"]),
    ("double precision", Type::Float, &DOUBLES),
    ("numeric(12, 2)", Type::Float, &["0", "1.50", "-1.50", "0.10", "3", "99999.99"]),
    ("text", Type::Text, &["'web'", "'Web'", "''", "'a'", "'ab'", "'7'", "'%x_'"]),
    ("varchar(8)", Type::Text, &["'cart'", "''", "'a'", "'b'"]),
    ("timestamptz", Type::Time, &TIMES),
    ("timestamp", Type::Time, &["'1970-01-01 00:00:10'", "'1970-01-01 00:00:30.25'"]),
    ("date", Type::Time, &["'1970-01-01'", "'1970-01-02'", "'1972-02-29'"]),
    ("boolean", Type::Bool, &["true", "false"]),
];

const DOUBLES: [&str; 9] =
    ["0.0", "'-0.0'::double", "'NaN'::double", "1.5", "-1.5", "0.1", "0.2", "1e16", "-1e16"];

const TIMES: [&str; 5] = [
    "'1970-01-01T00:00:10Z'",
    "'1970-01-01T00:00:20Z'",
    "'1970-01-01T00:00:40.5Z'",
    "'1970-01-01T00:00:40.000000001Z'",
    "'1970-01-01T00:00:59.999Z'",
];

/// A table of a user.
#[derive(Clone, Debug)]
pub struct UserTable {
    pub name: String,
    columns: Vec<UserColumn>,
    is_append_only: bool,
}

#[derive(Clone, Debug)]
struct UserColumn {
    name: String,
    sql_type: &'static str,
    data_type: Type,
    values: &'static [&'static str],
    is_nullable: bool,
}

/// One table to four.
pub fn tables(random: &mut StdRng) -> Vec<UserTable> {
    (0..random.random_range(1..=TABLES_MAX)).map(|number| table(random, format!("t_{number}"))).collect()
}

fn table(random: &mut StdRng, name: String) -> UserTable {
    let count = random.random_range(1..=COLUMNS_MAX);
    let column = |number: usize| {
        let (sql_type, data_type, values) = COLUMN_TYPES[random.random_range(0..COLUMN_TYPES.len())];
        let is_nullable = random.random_ratio(3, 4);
        UserColumn { name: format!("x{number}"), sql_type, data_type, values, is_nullable }
    };
    let columns = (0..count).map(column).collect();
    UserTable { name, columns, is_append_only: random.random_ratio(1, 4) }
}

impl UserTable {
    /// Its columns, as expressions name them.
    pub fn columns(&self) -> Vec<(String, Type)> {
        self.columns.iter().map(|column| (column.name.clone(), column.data_type)).collect()
    }

    /// The statement that creates it.
    pub fn create(&self) -> String {
        let column = |column: &UserColumn| {
            let not_null = if column.is_nullable { "" } else { " NOT NULL" };
            format!("{} {}{not_null}", column.name, column.sql_type)
        };
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        let options = if self.is_append_only { " WITH (append_only = true)" } else { "" };
        format!("CREATE TABLE {} ({}){options}", self.name, columns.join(", "))
    }

    /// A statement that changes its rows.
    pub fn change(&self, random: &mut StdRng) -> String {
        match random.random_range(0..5) {
            0 if !self.is_append_only => {
                format!("DELETE FROM {} WHERE {}", self.name, self.condition(random))
            }
            1 if !self.is_append_only => self.update(random),
            _ => self.insert(random),
        }
    }

    fn insert(&self, random: &mut StdRng) -> String {
        let rows = random.random_range(1..=8);
        let rows: Vec<String> = (0..rows)
            .map(|_| {
                let values: Vec<&str> = self.columns.iter().map(|column| column.value(random)).collect();
                format!("({})", values.join(", "))
            })
            .collect();
        format!("INSERT INTO {} VALUES {}", self.name, rows.join(", "))
    }

    fn update(&self, random: &mut StdRng) -> String {
        let column = &self.columns[random.random_range(0..self.columns.len())];
        let value = match random.random_ratio(1, 3) {
            true => self.columns.choose(random).filter(|other| other.sql_type == column.sql_type),
            false => None,
        };
        let value = value.map_or_else(|| column.value(random).to_owned(), |other| other.name.clone());
        format!("UPDATE {} SET {} = {value} WHERE {}", self.name, column.name, self.condition(random))
    }

    /// A condition that some rows meet.
    fn condition(&self, random: &mut StdRng) -> String {
        let column = |column: &UserColumn| Column { sql: column.name.clone(), data_type: column.data_type };
        let columns: Vec<Column> = self.columns.iter().map(column).collect();
        Expressions { random, columns: &columns, may_fail: false }.predicate(1)
    }
}

impl UserColumn {
    /// One of its values as SQL.
    fn value(&self, random: &mut StdRng) -> &'static str {
        if self.is_nullable && random.random_ratio(1, 6) {
            return "NULL";
        }
        self.values[random.random_range(0..self.values.len())]
    }
}
