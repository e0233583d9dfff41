//! A collection: rows that change, beside the errors that change.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use timely::dataflow::operators::Concatenate;
use timely::dataflow::{Scope, Stream};
use timely::progress::Timestamp;

use super::updates::{Tick, Updates};

/// A stream of updates.
pub type Edge<'scope, T = Tick> = Stream<'scope, T, Updates>;

/// The schema of errors: one column, the message.
pub static ERRORS: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("message", DataType::Utf8, false)])));

/// Rows and errors, each a multiset that changes over time.
///
/// An error stands for a row that could not be computed: while one is present the collection has no
/// answer, as the same query would have none.
#[derive(Clone)]
pub struct Collection<'scope, T: Timestamp = Tick> {
    /// Changes of rows.
    pub rows: Edge<'scope, T>,
    /// Changes of errors, in the schema [`ERRORS`].
    pub errors: Edge<'scope, T>,
}

impl<'scope, T: Timestamp> Collection<'scope, T> {
    /// The rows and errors of all of `parts`.
    pub fn concatenate(scope: Scope<'scope, T>, parts: Vec<Self>) -> Self {
        let (rows, errors): (Vec<_>, Vec<_>) = parts.into_iter().map(|p| (p.rows, p.errors)).unzip();
        Collection { rows: scope.concatenate(rows), errors: scope.concatenate(errors) }
    }
}
