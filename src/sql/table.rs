//! Tables of users: their columns and keys, and the statements that create them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::sql::sqlparser::ast::{
    self, ColumnOption, CreateTableOptions, ObjectName, SqlOption, TableConstraint,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::error::SqlError;
use super::statement::{identifier, object_name};

/// The most columns of a table, as in PostgreSQL.
pub const COLUMNS_MAX: usize = 1_600;

/// What a table is, whatever rows it has.
#[derive(Clone, Debug, PartialEq)]
pub struct TableDefinition {
    /// Its columns, with the types of their values and whether they may be null.
    pub schema: SchemaRef,
    /// What else there is to say of each column, in the same order.
    pub columns: Vec<ColumnDefinition>,
    /// The places of the columns of its primary key; empty where it has none.
    pub primary_key: Vec<usize>,
    /// Whether rows only come: INSERT and COPY are all that may change it.
    pub is_append_only: bool,
}

/// A column beside its type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnDefinition {
    /// The expression that stands where a row does not say.
    pub default: Option<String>,
    /// The most characters of a text, of `varchar(n)`.
    pub length_max: Option<u64>,
}

impl TableDefinition {
    /// A table of the columns of `schema`, all of which may be null.
    pub fn of_columns(schema: &Schema) -> Self {
        let fields = schema.fields().iter().map(|f| Field::new(f.name(), f.data_type().clone(), true));
        let fields: Vec<Field> = fields.collect();
        TableDefinition {
            columns: vec![ColumnDefinition::default(); fields.len()],
            schema: Arc::new(Schema::new(fields)),
            primary_key: vec![],
            is_append_only: false,
        }
    }

    /// The name of the constraint that its primary key is, for a table `table`.
    pub fn key_name(table: &str) -> String {
        format!("{table}_pkey")
    }
}

/// `CREATE TABLE`.
#[derive(Clone, Debug)]
pub struct CreateTable {
    /// Its name.
    pub name: String,
    /// Whether one that exists is fine.
    pub if_not_exists: bool,
    /// Its columns; none where a query says them.
    pub columns: Vec<CreateColumn>,
    /// The names of the columns of its primary key.
    pub primary_key: Vec<String>,
    /// Whether rows only come: `WITH (append_only = true)`.
    pub is_append_only: bool,
    /// The SELECT that it is created as.
    pub query: Option<String>,
}

/// A column of [`CreateTable`].
#[derive(Clone, Debug)]
pub struct CreateColumn {
    /// Its name.
    pub name: String,
    /// Its type, as it is written.
    pub data_type: ast::DataType,
    /// Whether it may be null.
    pub is_nullable: bool,
    /// The expression that stands where a row does not say.
    pub default: Option<String>,
}

/// What `CREATE TABLE` asks for.
///
/// # Errors
///
/// Where it asks for what tables do not have: other constraints, other options, foreign storage.
pub(super) fn create_table(statement: ast::CreateTable) -> Result<CreateTable, SqlError> {
    let table = &statement;
    let foreign = [
        (table.or_replace, "CREATE OR REPLACE TABLE"),
        (table.temporary, "CREATE TEMPORARY TABLE"),
        (table.external, "CREATE EXTERNAL TABLE"),
        (table.like.is_some(), "CREATE TABLE ... LIKE"),
        (table.clone.is_some(), "CREATE TABLE ... CLONE"),
        (table.partition_by.is_some(), "PARTITION BY"),
        (table.inherits.is_some(), "INHERITS"),
    ];
    if let Some((_, what)) = foreign.iter().find(|(is_there, _)| *is_there) {
        return Err(SqlError::Syntax(format!("{what} is not supported")));
    }
    if statement.query.is_some() && !statement.columns.is_empty() {
        return Err(SqlError::Syntax(
            "CREATE TABLE with columns AS a query is not supported; name the columns in the query".to_owned(),
        ));
    }
    let mut created = CreateTable {
        name: object_name(&statement.name)?,
        if_not_exists: statement.if_not_exists,
        columns: vec![],
        primary_key: vec![],
        is_append_only: append_only(&statement.table_options)?,
        query: statement.query.map(|query| query.to_string()),
    };
    for column in statement.columns {
        let column = create_column(column, &mut created.primary_key)?;
        created.columns.push(column);
    }
    for constraint in statement.constraints {
        table_constraint(&constraint, &mut created.primary_key)?;
    }
    check_columns(&mut created)?;
    Ok(created)
}

fn create_column(column: ast::ColumnDef, primary_key: &mut Vec<String>) -> Result<CreateColumn, SqlError> {
    let name = identifier(&column.name);
    let mut created = CreateColumn { name, data_type: column.data_type, is_nullable: true, default: None };
    for option in column.options {
        match option.option {
            ColumnOption::Null => {}
            ColumnOption::NotNull => created.is_nullable = false,
            ColumnOption::Default(expr) => created.default = Some(expr.to_string()),
            ColumnOption::PrimaryKey(_) => set_key(primary_key, vec![created.name.clone()])?,
            other => return Err(unsupported(&other.to_string())),
        }
    }
    Ok(created)
}

fn table_constraint(constraint: &TableConstraint, primary_key: &mut Vec<String>) -> Result<(), SqlError> {
    let TableConstraint::PrimaryKey(key) = constraint else {
        return Err(unsupported(&constraint.to_string()));
    };
    let name = |column: &ast::IndexColumn| match &column.column.expr {
        ast::Expr::Identifier(name) => Ok(identifier(name)),
        other => Err(SqlError::Syntax(format!("\"{other}\" in PRIMARY KEY is not a column"))),
    };
    set_key(primary_key, key.columns.iter().map(name).collect::<Result<_, _>>()?)
}

fn unsupported(what: &str) -> SqlError {
    SqlError::Syntax(format!("{what} is not supported; a column takes NOT NULL, DEFAULT and PRIMARY KEY"))
}

fn set_key(primary_key: &mut Vec<String>, columns: Vec<String>) -> Result<(), SqlError> {
    match primary_key.is_empty() {
        true => *primary_key = columns,
        false => return Err(SqlError::Syntax("a table has one PRIMARY KEY at most".to_owned())),
    }
    Ok(())
}

/// Checks names, and makes the columns of the key NOT NULL.
fn check_columns(created: &mut CreateTable) -> Result<(), SqlError> {
    if created.columns.len() > COLUMNS_MAX {
        let count = created.columns.len();
        return Err(SqlError::Syntax(format!("{count} columns, and a table has {COLUMNS_MAX} at most")));
    }
    if created.columns.is_empty() && created.query.is_none() {
        return Err(SqlError::Syntax("a table has at least one column".to_owned()));
    }
    for (at, column) in created.columns.iter().enumerate() {
        if created.columns[..at].iter().any(|other| other.name == column.name) {
            return Err(SqlError::Syntax(format!("column \"{}\" is there twice", column.name)));
        }
    }
    for (at, key) in created.primary_key.iter().enumerate() {
        if created.primary_key[..at].contains(key) {
            return Err(SqlError::Syntax(format!("column \"{key}\" is there twice in PRIMARY KEY")));
        }
        match created.columns.iter_mut().find(|column| column.name == *key) {
            Some(column) => column.is_nullable = false,
            None => return Err(SqlError::Syntax(format!("column \"{key}\" of PRIMARY KEY does not exist"))),
        }
    }
    if created.is_append_only && !created.primary_key.is_empty() {
        return Err(SqlError::Option {
            name: "append_only".to_owned(),
            value: "true".to_owned(),
            expected: "a table with PRIMARY KEY remembers all keys and cannot let old rows go".to_owned(),
        });
    }
    Ok(())
}

/// The option `append_only`, the only one there is.
fn append_only(options: &CreateTableOptions) -> Result<bool, SqlError> {
    let options = match options {
        CreateTableOptions::None => return Ok(false),
        CreateTableOptions::With(options) | CreateTableOptions::Options(options) => options,
        other => return Err(SqlError::Syntax(format!("{other} is not supported; WITH (...) takes options"))),
    };
    let mut is_append_only = false;
    for option in options {
        let (name, value) = match option {
            SqlOption::KeyValue { key, value } => (identifier(key), value.to_string()),
            SqlOption::Ident(key) => (identifier(key), "true".to_owned()),
            other => {
                return Err(SqlError::Syntax(format!("option \"{other}\" is not of the form name = value")));
            }
        };
        let value = value.trim_matches('\'').to_lowercase();
        is_append_only = match (name.as_str(), value.as_str()) {
            ("append_only", "true" | "on") => true,
            ("append_only", "false" | "off") => false,
            _ => {
                let expected = "a table takes append_only = true or false".to_owned();
                return Err(SqlError::Option { name, value, expected });
            }
        };
    }
    Ok(is_append_only)
}

/// The tables that a statement names.
pub(super) fn names<'a>(names: impl Iterator<Item = &'a ObjectName>) -> Result<Vec<String>, SqlError> {
    names.map(object_name).collect()
}

/// The expression `text`.
pub(super) fn expression(text: &str) -> Result<ast::Expr, SqlError> {
    let dialect = PostgreSqlDialect {};
    let parsed = Parser::new(&dialect).try_with_sql(text).and_then(|mut parser| parser.parse_expr());
    parsed.map_err(|error| SqlError::DataFusion(error.into()))
}

/// A type as tables have it: its name for the planner, and the most characters of a text.
///
/// # Errors
///
/// For `serial` and its like: nothing counts here.
pub(super) fn storable(data_type: &ast::DataType) -> Result<(ast::DataType, Option<u64>), SqlError> {
    use ast::DataType as Type;
    let characters = |length: &Option<ast::CharacterLength>| match length {
        Some(ast::CharacterLength::IntegerLength { length, .. }) => Some(*length),
        _ => None,
    };
    Ok(match data_type {
        Type::Varchar(length)
        | Type::CharacterVarying(length)
        | Type::CharVarying(length)
        | Type::Nvarchar(length) => (Type::Text, characters(length)),
        Type::Char(length) | Type::Character(length) => (Type::Text, Some(characters(length).unwrap_or(1))),
        Type::JSON | Type::JSONB | Type::Uuid => (Type::Text, None),
        // As in PostgreSQL, and not the single precision of the planner.
        Type::Float(_) => (Type::DoublePrecision, None),
        Type::Custom(name, _) => {
            let text = name.to_string().to_lowercase();
            match text.as_str() {
                "serial" | "bigserial" | "smallserial" => {
                    return Err(SqlError::Syntax(format!(
                        "the type {text} is not supported: nothing counts here; use bigint, or DEFAULT uuid()"
                    )));
                }
                "citext" | "name" | "bpchar" => (Type::Text, None),
                _ => (data_type.clone(), None),
            }
        }
        other => (other.clone(), None),
    })
}

/// The name of a type for the planner; `None` for one that has none in SQL.
pub(super) fn type_name(data_type: &DataType) -> Option<ast::DataType> {
    use ast::DataType as Type;
    let timestamp = |unit: &TimeUnit| match unit {
        TimeUnit::Second => Some(0),
        TimeUnit::Millisecond => Some(3),
        TimeUnit::Microsecond => Some(6),
        TimeUnit::Nanosecond => None,
    };
    Some(match data_type {
        DataType::Boolean => Type::Boolean,
        DataType::Int16 => Type::SmallInt(None),
        DataType::Int32 => Type::Integer(None),
        DataType::Int64 => Type::BigInt(None),
        DataType::Float32 => Type::Real,
        DataType::Float64 => Type::DoublePrecision,
        DataType::Utf8 => Type::Text,
        DataType::Date32 => Type::Date,
        DataType::Binary => Type::Bytea,
        DataType::List(item) => {
            Type::Array(ast::ArrayElemTypeDef::SquareBracket(Box::new(type_name(item.data_type())?), None))
        }
        DataType::Timestamp(unit, None) => Type::Timestamp(timestamp(unit), ast::TimezoneInfo::None),
        DataType::Timestamp(unit, Some(_)) => {
            Type::Timestamp(timestamp(unit), ast::TimezoneInfo::WithTimeZone)
        }
        DataType::Decimal128(precision, scale) => {
            let scale = i64::from(*scale);
            Type::Numeric(ast::ExactNumberInfo::PrecisionAndScale(u64::from(*precision), scale))
        }
        _ => return None,
    })
}
