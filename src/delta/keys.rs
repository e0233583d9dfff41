//! Rows numbered by their value.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::filter;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::EmitTo;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

/// Gives equal rows equal numbers, counted from 0: the grouping of DataFusion's own hash aggregate,
/// so that what is equal here is what a batch GROUP BY finds equal (null with null, NaN with NaN).
pub struct Keys {
    values: Option<Box<dyn GroupValues>>,
    schema: SchemaRef,
}

impl Keys {
    /// No rows yet, of `schema`. Fails where DataFusion cannot group by a type.
    pub fn new(schema: SchemaRef) -> DataFusionResult<Self> {
        let values = match schema.fields().is_empty() {
            true => None,
            false => Some(new_group_values(schema.clone(), &GroupOrdering::None)?),
        };
        Ok(Keys { values, schema })
    }

    /// The number of each of `rows` rows over `columns`, into `numbers`. Fails only when the keys
    /// outgrow what Arrow can address in one column.
    pub fn number(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        numbers: &mut Vec<usize>,
    ) -> DataFusionResult<()> {
        numbers.clear();
        match &mut self.values {
            Some(values) => values.intern(columns, numbers),
            None => {
                numbers.resize(rows, 0);
                Ok(())
            }
        }
    }

    /// How many numbers are given out.
    pub fn count(&self) -> usize {
        self.values.as_ref().map_or(1, |values| values.len())
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.values.as_ref().map_or(0, |values| values.size())
    }

    /// The columns of all numbered rows, by number; none are left.
    pub fn take_all(&mut self) -> DataFusionResult<Vec<ArrayRef>> {
        self.values.as_mut().map_or(Ok(vec![]), |values| values.emit(EmitTo::All))
    }

    /// Forgets the numbers that are false in `keep` and renumbers the others from 0, in order.
    pub fn retain(&mut self, keep: &[bool]) -> DataFusionResult<()> {
        let Some(values) = &mut self.values else { return Ok(()) };
        let columns = values.emit(EmitTo::All)?;
        let mask = BooleanArray::from(keep.to_vec());
        let columns = columns.iter().map(|c| filter(c, &mask)).collect::<Result<Vec<_>, _>>()?;
        *values = new_group_values(self.schema.clone(), &GroupOrdering::None)?;
        values.intern(&columns, &mut Vec::new())
    }
}
