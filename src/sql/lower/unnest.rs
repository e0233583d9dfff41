//! UNNEST.

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::Unnest;
use datafusion::physical_plan::unnest::ListUnnest;

use super::Lowering;
use crate::delta::plan::{Node, NodeId};
use crate::delta::unnest::UnnestSpec;
use crate::sql::error::SqlError;

impl Lowering<'_> {
    pub(super) fn unnest(&mut self, query: &Unnest, schema: SchemaRef) -> Result<NodeId, SqlError> {
        let input = self.node(&query.input)?;
        let lists = query.list_type_columns.iter();
        let lists =
            lists.map(|(index, list)| ListUnnest { index_in_input_schema: *index, depth: list.depth });
        let spec = UnnestSpec {
            lists: lists.collect(),
            structs: query.struct_type_columns.clone(),
            options: query.options.clone(),
            schema: schema.clone(),
        };
        let retracts = self.retracts[input];
        Ok(self.push(Node::Unnest { input, spec }, schema, retracts))
    }
}
