//! Rows as bytes that compare as the rows do.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, RowParser, Rows, SortField};
use datafusion::error::Result as DataFusionResult;

use super::updates::columnless;

/// Bytes behind a row that tell how long the part is in which its peers are the same.
const PEER_LEN_BYTES: usize = size_of::<u32>();

/// A column to order by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderColumn {
    /// Which column.
    pub column: usize,
    /// Its direction, and where its nulls come.
    pub options: SortOptions,
}

/// An order of all rows of a schema: by some columns and then, ascending with nulls last, by all others.
///
/// A row is kept as Arrow's row format, from which it can be read again: bytes that compare as rows do,
/// with floats in their total order, each column once.
pub struct RowOrder {
    schema: SchemaRef,
    /// All columns, in the order in which they count.
    columns: Vec<usize>,
    converter: RowConverter,
    parser: RowParser,
    /// Converts the ordering columns alone, where peers must be told apart; and how many these are.
    peers: Option<(RowConverter, usize)>,
}

/// Rows of a batch as bytes.
pub enum EncodedRows {
    /// Arrow's row format.
    Plain(Rows),
    /// The same followed by the length of the part that peers share.
    WithPeers {
        /// Row after row.
        bytes: Vec<u8>,
        /// Where each row ends.
        ends: Vec<usize>,
    },
    /// Rows without columns.
    Columnless,
}

impl RowOrder {
    /// The order of rows of `schema` by `order`. With `has_peers` rows tell their peers. Fails
    /// where Arrow cannot order a type.
    pub fn new(schema: SchemaRef, order: &[OrderColumn], has_peers: bool) -> DataFusionResult<Self> {
        Self::without(schema, order, has_peers, &[])
    }

    /// The order of rows of `schema` without the columns `left_out`, which are not in their bytes.
    pub fn without(
        schema: SchemaRef,
        order: &[OrderColumn],
        has_peers: bool,
        left_out: &[usize],
    ) -> DataFusionResult<Self> {
        let nulls_last = SortOptions { descending: false, nulls_first: false };
        let mut all: Vec<OrderColumn> = vec![];
        let rest = (0..schema.fields().len()).map(|column| OrderColumn { column, options: nulls_last });
        for column in order.iter().copied().chain(rest) {
            if !left_out.contains(&column.column) && !all.iter().any(|known| known.column == column.column) {
                all.push(column);
            }
        }
        let field = |c: &OrderColumn| {
            SortField::new_with_options(schema.field(c.column).data_type().clone(), c.options)
        };
        let converter = RowConverter::new(all.iter().map(field).collect())?;
        let ordering = all.iter().take_while(|c| order.iter().any(|o| o.column == c.column)).count();
        let peers = match has_peers {
            true => Some((RowConverter::new(all[..ordering].iter().map(field).collect())?, ordering)),
            false => None,
        };
        let columns = all.iter().map(|c| c.column).collect();
        Ok(RowOrder { parser: converter.parser(), schema, columns, converter, peers })
    }

    /// `rows` as bytes.
    pub fn encode(&self, rows: &RecordBatch) -> DataFusionResult<EncodedRows> {
        if self.columns.is_empty() {
            return Ok(EncodedRows::Columnless);
        }
        let columns: Vec<_> = self.columns.iter().map(|c| rows.column(*c).clone()).collect();
        let encoded = self.converter.convert_columns(&columns)?;
        let Some((converter, ordering)) = &self.peers else { return Ok(EncodedRows::Plain(encoded)) };
        let prefixes = converter.convert_columns(&columns[..*ordering])?;
        let (mut bytes, mut ends) = (vec![], Vec::with_capacity(rows.num_rows()));
        for index in 0..rows.num_rows() {
            let len = if *ordering == 0 { 0 } else { prefixes.row_len(index) as u32 };
            bytes.extend_from_slice(encoded.row(index).data());
            bytes.extend_from_slice(&len.to_le_bytes());
            ends.push(bytes.len());
        }
        Ok(EncodedRows::WithPeers { bytes, ends })
    }

    /// The rows that `encoded` are the bytes of, in that order.
    pub fn decode<'a>(
        &self,
        encoded: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> DataFusionResult<RecordBatch> {
        if self.columns.is_empty() {
            return Ok(columnless(self.schema.clone(), encoded.len()));
        }
        let columns = self.decode_columns(encoded)?.into_iter().flatten().collect();
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    /// The columns of the rows that `encoded` are the bytes of; `None` for each that was left out.
    pub fn decode_columns<'a>(
        &self,
        encoded: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> DataFusionResult<Vec<Option<ArrayRef>>> {
        let mut columns = vec![None; self.schema.fields().len()];
        if self.columns.is_empty() {
            return Ok(columns);
        }
        let behind = if self.peers.is_some() { PEER_LEN_BYTES } else { 0 };
        let rows = encoded.map(|bytes| self.parser.parse(&bytes[..bytes.len() - behind]));
        let decoded = self.converter.convert_rows(rows)?;
        for (place, array) in self.columns.iter().zip(decoded) {
            let data_type = self.schema.field(*place).data_type();
            let array = if array.data_type() == data_type { array } else { cast(&array, data_type)? };
            columns[*place] = Some(array);
        }
        Ok(columns)
    }
}

/// The part of an encoded row with peers that all its peers share.
pub fn peers(row: &[u8]) -> &[u8] {
    match row.split_last_chunk::<PEER_LEN_BYTES>() {
        Some((bytes, len)) => &bytes[..u32::from_le_bytes(*len) as usize],
        // Rows without columns are all peers.
        None => &[],
    }
}

impl EncodedRows {
    /// Row `index`.
    pub fn row(&self, index: usize) -> &[u8] {
        match self {
            EncodedRows::Plain(rows) => rows.row(index).data(),
            EncodedRows::WithPeers { bytes, ends } => {
                let start = if index == 0 { 0 } else { ends[index - 1] };
                &bytes[start..ends[index]]
            }
            EncodedRows::Columnless => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::testing::{batch, texts};

    fn sorted(order: &RowOrder, rows: &RecordBatch) -> Vec<String> {
        let encoded = order.encode(rows).unwrap();
        let mut bytes: Vec<&[u8]> = (0..rows.num_rows()).map(|row| encoded.row(row)).collect();
        bytes.sort_unstable();
        let decoded = order.decode(bytes.into_iter()).unwrap();
        texts(&decoded).into_iter().map(|row| row.join(" ")).collect()
    }

    fn by(column: usize, descending: bool) -> OrderColumn {
        OrderColumn { column, options: SortOptions { descending, nulls_first: descending } }
    }

    #[test]
    fn ties_are_broken_by_the_other_columns() {
        let rows = batch(&[(1, "b"), (2, "a"), (1, "a"), (2, "b")]);
        let order = RowOrder::new(rows.schema(), &[by(0, true)], false).unwrap();
        assert_eq!(sorted(&order, &rows), ["2 a", "2 b", "1 a", "1 b"]);
        let order = RowOrder::new(rows.schema(), &[by(1, true), by(1, false)], true).unwrap();
        assert_eq!(sorted(&order, &rows), ["1 b", "2 b", "1 a", "2 a"]);
    }

    #[test]
    fn peers_are_equal_in_the_ordering_columns_alone() {
        let rows = batch(&[(1, "a"), (1, "b"), (2, "a")]);
        let order = RowOrder::new(rows.schema(), &[by(0, false)], true).unwrap();
        let encoded = order.encode(&rows).unwrap();
        assert_eq!(peers(encoded.row(0)), peers(encoded.row(1)));
        assert_ne!(peers(encoded.row(0)), peers(encoded.row(2)));
        let order = RowOrder::new(rows.schema(), &[], true).unwrap();
        let encoded = order.encode(&rows).unwrap();
        assert!((0..3).all(|row| peers(encoded.row(row)).is_empty()));
    }

    #[test]
    fn rows_without_columns_are_rows_all_the_same() {
        let rows = columnless(std::sync::Arc::new(arrow::datatypes::Schema::empty()), 2);
        let order = RowOrder::new(rows.schema(), &[], false).unwrap();
        let encoded = order.encode(&rows).unwrap();
        let bytes = [encoded.row(0), encoded.row(1)];
        assert_eq!(order.decode(bytes.into_iter()).unwrap().num_rows(), 2);
    }
}
