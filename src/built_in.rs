//! The views that come with the engine: the files of `queries/`, compiled in.

use crate::engine::BuiltIns;
use crate::sql::error::SqlError;

/// Each file of `queries/`: its name and its text.
pub const QUERIES: &[(&str, &str)] = &[("log_rates.sql", include_str!("../queries/log_rates.sql"))];

/// All built-in views.
pub fn views() -> Result<BuiltIns, SqlError> {
    let mut views = BuiltIns::default();
    QUERIES.iter().try_for_each(|(_, sql)| views.add(sql))?;
    Ok(views)
}
