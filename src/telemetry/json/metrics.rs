//! Metrics of JSON: one row for each of their data points.

use arrow::datatypes::{Float64Type, Int64Type};

use crate::telemetry::columns::{Lists, Quantiles};
use crate::telemetry::record::{
    Exemplar, Id, Metric, MetricType, NO_DATA, Number, Point, TWO_KINDS_OF_DATA, count, filled, too_many,
};
use crate::telemetry::tables::Metrics;
use crate::telemetry::{Decoder, Limits};

use super::reader::{Fault, Reader};
use super::{Walk, value};

/// The metric's type by the name of the field that holds its data.
fn type_of(key: &str) -> Option<MetricType> {
    Some(match key {
        "gauge" => MetricType::Gauge,
        "sum" => MetricType::Sum,
        "histogram" => MetricType::Histogram,
        "exponentialHistogram" => MetricType::ExponentialHistogram,
        "summary" => MetricType::Summary,
        _ => return None,
    })
}

impl<'a> Walk<'a, '_> {
    /// One metric with its points.
    pub(super) fn metric(&mut self) -> Result<(), Fault> {
        let read = self.metric_fields();
        self.decoder.end_group("metric", self.origin);
        read
    }

    fn metric_fields(&mut self) -> Result<(), Fault> {
        let start = self.reader.place();
        let mut metric = Metric::default();
        let (mut postponed, mut has_data, mut first) = (None, false, true);
        self.reader.object("metric")?;
        while let Some(key) = self.reader.field(&mut first)? {
            match key.as_ref() {
                "name" => self.head_field(&mut metric, |reader, metric| {
                    metric.name = reader.string("name")?;
                    Ok(())
                })?,
                "description" => self.head_field(&mut metric, |reader, metric| {
                    metric.description = reader.string("description")?;
                    Ok(())
                })?,
                "unit" => self.head_field(&mut metric, |reader, metric| {
                    metric.unit = reader.string("unit")?;
                    Ok(())
                })?,
                key => match type_of(key) {
                    None => self.reader.skip()?,
                    Some(_) if has_data => {
                        let reason = TWO_KINDS_OF_DATA.to_owned();
                        self.decoder.note_fault("metric", &metric.label(), reason, key.as_bytes());
                        self.reader.skip()?;
                    }
                    Some(metric_type) if metric.name.is_empty() => {
                        has_data = true;
                        postponed = Some((metric_type, self.postpone()?));
                    }
                    Some(metric_type) => {
                        has_data = true;
                        self.data(&mut metric, metric_type)?;
                    }
                },
            }
        }
        let head = filled("name", &metric.name);
        let head = head.and_then(|_| if has_data { Ok(()) } else { Err(NO_DATA.to_owned()) });
        if let Err(reason) = head {
            self.decoder.note_fault("metric", &metric.label(), reason, self.reader.since(start));
        }
        let Some((metric_type, place)) = postponed else { return Ok(()) };
        self.resume(Some(place), |walk| walk.data(&mut metric, metric_type))
    }

    /// Reads a field that all points of a metric share; if it is wrong they are all rejected.
    fn head_field(
        &mut self,
        metric: &mut Metric<'a>,
        read: impl FnOnce(&mut Reader<'a>, &mut Metric<'a>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let start = self.reader.place();
        match read(&mut self.reader, metric) {
            Err(Fault::Record(reason)) => {
                self.reader.rewind(start);
                self.reader.skip()?;
                self.decoder.note_fault("metric", &metric.label(), reason, self.reader.since(start));
                Ok(())
            }
            read => read,
        }
    }

    /// A `Gauge`, `Sum`, `Histogram`, `ExponentialHistogram` or `Summary`.
    fn data(&mut self, metric: &mut Metric<'a>, metric_type: MetricType) -> Result<(), Fault> {
        let whole = matches!(metric_type, MetricType::Gauge | MetricType::Summary);
        let (mut postponed, mut first) = (None, true);
        self.reader.object(metric_type.name())?;
        while let Some(key) = self.reader.field(&mut first)? {
            match key.as_ref() {
                "dataPoints" if whole => self.points(metric, metric_type)?,
                "dataPoints" => postponed = Some(self.postpone()?),
                "aggregationTemporality" if !whole => self.head_field(metric, |reader, metric| {
                    metric.set_temporality(reader.enumeration("temporality")?).map_err(Fault::Record)
                })?,
                "isMonotonic" if metric_type == MetricType::Sum => {
                    self.head_field(metric, |reader, metric| {
                        metric.is_monotonic = Some(reader.boolean("isMonotonic")?);
                        Ok(())
                    })?
                }
                _ => self.reader.skip()?,
            }
        }
        if metric_type == MetricType::Sum {
            // What protobuf leaves out is false.
            metric.is_monotonic.get_or_insert(false);
        }
        self.resume(postponed, |walk| walk.points(metric, metric_type))
    }

    fn points(&mut self, metric: &Metric<'a>, metric_type: MetricType) -> Result<(), Fault> {
        self.each("metric", "dataPoints", |walk| walk.point(metric, metric_type))
    }

    fn point(&mut self, metric: &Metric<'a>, metric_type: MetricType) -> Result<(), Fault> {
        if self.decoder.group.rejects() {
            return self.reader.skip();
        }
        self.decoder.metrics.discard();
        let start = self.reader.place();
        let mut point = Point::default();
        let pushed = match self.point_fields(&mut point, metric_type) {
            Ok(()) => self.decoder.push_point(&point, metric, metric_type),
            Err(Fault::Record(reason)) => Err(reason),
            Err(syntax) => return Err(syntax),
        };
        match pushed {
            Err(reason) => self.reject("metric", &format!("{}: {reason}", metric.label()), start),
            Ok(()) => Ok(()),
        }
    }

    fn point_fields(&mut self, point: &mut Point, metric_type: MetricType) -> Result<(), Fault> {
        let mut first = true;
        self.reader.object("data point")?;
        while let Some(key) = self.reader.field(&mut first)? {
            let reader = &mut self.reader;
            let Decoder { metrics, limits, .. } = &mut *self.decoder;
            match key.as_ref() {
                "timeUnixNano" => point.ts_ns = reader.integer("timeUnixNano")?,
                "startTimeUnixNano" => point.started_ns = reader.integer("startTimeUnixNano")?,
                "attributes" => value::attributes(reader, &mut metrics.attributes, limits)?,
                "asDouble" | "asInt" => point.value = Some(number(reader, &key)?),
                "flags" => point.flags = reader.integer("flags")?,
                "count" => point.count = reader.integer("count")?,
                "sum" => point.sum = Some(reader.double("sum")?),
                "min" => point.min = Some(reader.double("min")?),
                "max" => point.max = Some(reader.double("max")?),
                "bucketCounts" => counts(reader, &mut metrics.bucket_counts, limits)?,
                "explicitBounds" => doubles(reader, &mut metrics.explicit_bounds, limits)?,
                "scale" => point.scale = reader.integer("scale")?,
                "zeroCount" => point.zero_count = reader.integer("zeroCount")?,
                "zeroThreshold" => point.zero_threshold = reader.double("zeroThreshold")?,
                "positive" => {
                    point.positive_offset = buckets(reader, &mut metrics.positive_bucket_counts, limits)?;
                }
                "negative" => {
                    point.negative_offset = buckets(reader, &mut metrics.negative_bucket_counts, limits)?;
                }
                "quantileValues" => quantiles(reader, &mut metrics.quantiles, limits)?,
                "exemplars" => exemplars(reader, metrics, limits)?,
                _ => reader.skip()?,
            }
        }
        if metric_type == MetricType::Summary {
            // A summary's sum is a plain number in protobuf: left out, it is zero.
            point.sum.get_or_insert(0.0);
        }
        Ok(())
    }
}

/// The value of `asDouble` or `asInt`.
fn number(reader: &mut Reader<'_>, key: &str) -> Result<Number, Fault> {
    if key == "asDouble" {
        return reader.double(key).map(Number::Double);
    }
    let value = reader.integer(key)?;
    match i64::try_from(value) {
        Ok(value) => Ok(Number::Int(value)),
        Err(_) => Err(Fault::Record(format!("{key} {value} is outside {} to {}", i64::MIN, i64::MAX))),
    }
}

/// Reads an array of counts into the open row of a column, which is emptied before.
fn counts(reader: &mut Reader<'_>, list: &mut Lists<Int64Type>, limits: &Limits) -> Result<(), Fault> {
    list.discard();
    reader.array("bucketCounts")?;
    let mut first = true;
    while reader.item(&mut first)? {
        too_many("bucket counts", list.open().len(), limits).map_err(Fault::Record)?;
        list.add(count("bucket count", reader.integer("bucket count")?).map_err(Fault::Record)?);
    }
    Ok(())
}

/// Reads an array of bounds into the open row of a column, which is emptied before.
fn doubles(reader: &mut Reader<'_>, list: &mut Lists<Float64Type>, limits: &Limits) -> Result<(), Fault> {
    list.discard();
    reader.array("explicitBounds")?;
    let mut first = true;
    while reader.item(&mut first)? {
        too_many("explicit bounds", list.open().len(), limits).map_err(Fault::Record)?;
        list.add(reader.double("explicit bound")?);
    }
    Ok(())
}

/// Reads `Buckets` of an exponential histogram: the counts into the open row of a column; returns their offset.
fn buckets(reader: &mut Reader<'_>, list: &mut Lists<Int64Type>, limits: &Limits) -> Result<i128, Fault> {
    let (mut offset, mut first) = (0, true);
    list.discard();
    reader.object("buckets")?;
    while let Some(key) = reader.field(&mut first)? {
        match key.as_ref() {
            "offset" => offset = reader.integer("offset")?,
            "bucketCounts" => counts(reader, list, limits)?,
            _ => reader.skip()?,
        }
    }
    Ok(offset)
}

/// Reads the quantiles of a summary into the open row of their column, which is emptied before.
fn quantiles(reader: &mut Reader<'_>, list: &mut Quantiles, limits: &Limits) -> Result<(), Fault> {
    list.discard();
    reader.array("quantileValues")?;
    let mut first = true;
    while reader.item(&mut first)? {
        too_many("quantiles", list.open_elements(), limits).map_err(Fault::Record)?;
        let (mut quantile, mut value, mut first) = (0.0, 0.0, true);
        reader.object("quantile value")?;
        while let Some(key) = reader.field(&mut first)? {
            match key.as_ref() {
                "quantile" => quantile = reader.double("quantile")?,
                "value" => value = reader.double("value")?,
                _ => reader.skip()?,
            }
        }
        list.add(quantile, value);
    }
    Ok(())
}

/// Reads the exemplars of a point into the open row of their column, which is emptied before.
fn exemplars(reader: &mut Reader<'_>, metrics: &mut Metrics, limits: &Limits) -> Result<(), Fault> {
    metrics.exemplars.discard();
    reader.array("exemplars")?;
    let mut first = true;
    while reader.item(&mut first)? {
        too_many("exemplars", metrics.exemplars.open_elements(), limits).map_err(Fault::Record)?;
        let (mut exemplar, mut first) = (Exemplar::default(), true);
        reader.object("exemplar")?;
        while let Some(key) = reader.field(&mut first)? {
            match key.as_ref() {
                "timeUnixNano" => exemplar.ts_ns = reader.integer("timeUnixNano")?,
                "asDouble" | "asInt" => exemplar.value = Some(number(reader, &key)?),
                "traceId" => exemplar.trace_id = Id::Hex(reader.string("traceId")?),
                "spanId" => exemplar.span_id = Id::Hex(reader.string("spanId")?),
                "filteredAttributes" => {
                    value::attributes(reader, &mut metrics.exemplars.attributes, limits)?;
                }
                _ => reader.skip()?,
            }
        }
        metrics.push_exemplar(&exemplar).map_err(Fault::Record)?;
    }
    Ok(())
}
