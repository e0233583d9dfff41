//! What is different about the results of some series.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::error::Result as DataFusionResult;

use super::function::column;
use super::kept::Kept;
use super::{Codec, PORTION_ROWS, SeriesSpec};
use crate::delta::operator::Part;
use crate::delta::updates::{Diff, Run, take_rows};

/// Rows whose results change, with the results before and after.
pub struct Output {
    /// Numbers of a row.
    pub width: usize,
    /// The series that rows are of.
    series: usize,
    /// Rows as bytes, each once.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    series_of_rows: Vec<usize>,
    /// Results: the row that each is of, and its diff.
    results: Vec<(u32, Diff)>,
    numbers: Vec<f64>,
    /// The rows, results and errors before the series.
    begin: [usize; 2],
    /// Changed errors.
    pub errors: Vec<(String, Diff)>,
}

impl Output {
    /// Of series that have `width` numbers a row.
    pub fn new(width: usize) -> Self {
        Output {
            width,
            series: 0,
            bytes: vec![],
            ends: vec![],
            series_of_rows: vec![],
            results: vec![],
            numbers: vec![],
            begin: [0; 2],
            errors: vec![],
        }
    }

    /// How many results change.
    pub fn len(&self) -> usize {
        self.results.len()
    }

    /// What follows is about `series`.
    pub fn begin(&mut self, series: usize) {
        self.series = series;
        self.keep();
    }

    /// What was said about the series is not given up any more.
    pub fn keep(&mut self) {
        self.begin = [self.ends.len(), self.results.len()];
    }

    /// Takes back what was said about the series since [`begin`](Self::begin) or [`keep`](Self::keep).
    pub fn give_up(&mut self) {
        let [rows, results] = self.begin;
        self.ends.truncate(rows);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
        self.series_of_rows.truncate(rows);
        self.results.truncate(results);
        self.numbers.truncate(results * self.width);
    }

    /// The results of a row before and after, where it is there.
    pub fn row(&mut self, bytes: &[u8], sides: [Option<&[f64]>; 2]) {
        let row = self.ends.len() as u32;
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.series_of_rows.push(self.series);
        for (numbers, diff) in sides.into_iter().zip([-1, 1]) {
            if let Some(numbers) = numbers {
                self.results.push((row, diff));
                self.numbers.extend_from_slice(numbers);
            }
        }
    }

    /// The results as rows of a view.
    pub fn parts(&self, spec: &SeriesSpec, codec: &Codec, series: &[Kept]) -> DataFusionResult<Vec<Part>> {
        let portions = (0..self.results.len()).step_by(PORTION_ROWS);
        let part = |first: usize| {
            let results = first..(first + PORTION_ROWS).min(self.results.len());
            self.part(results, spec, codec, series)
        };
        portions.map(part).collect()
    }

    /// Some of the results, of rows that ascend.
    fn part(
        &self,
        results: Range<usize>,
        spec: &SeriesSpec,
        codec: &Codec,
        series: &[Kept],
    ) -> DataFusionResult<Part> {
        let numbers = &self.numbers[results.start * self.width..results.end * self.width];
        let results = &self.results[results];
        let first = results.first().map_or(0, |(row, _)| *row);
        let rows = first as usize..results.last().map_or(0, |(row, _)| *row as usize + 1);
        let bytes = |row: usize| {
            let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
            (&*series[self.series_of_rows[row]].key, &self.bytes[start..self.ends[row]])
        };
        let rows = codec.decode(rows.map(bytes).collect::<Vec<_>>().into_iter())?;
        let kept: Vec<usize> = (0..spec.schema.fields().len() - spec.calls.len()).collect();
        let picks = UInt32Array::from_iter_values(results.iter().map(|(row, _)| *row - first));
        let rows = take_rows(&rows.project(&kept)?, &picks);
        let mut columns = rows.columns().to_vec();
        let mut first = 0;
        for (call, field) in spec.calls.iter().zip(&spec.schema.fields()[kept.len()..]) {
            let results = column(&call.fields, numbers, self.width, first)?;
            first += call.fields.len();
            let is_right = *field.data_type() == DataType::Struct(call.fields.clone());
            columns.push(if is_right { results } else { cast(&results, field.data_type())? });
        }
        let rows = RecordBatch::try_new(Arc::clone(&spec.schema), columns)?;
        Ok((rows, Run::from_vec(results.iter().map(|(_, diff)| *diff).collect())))
    }

    /// Whether a result may cancel another out.
    pub fn retracts(&self) -> bool {
        self.results.iter().any(|(_, diff)| *diff < 0)
    }
}
