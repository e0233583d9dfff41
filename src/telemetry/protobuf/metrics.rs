//! Metrics of protobuf: one row for each of their data points. The numbers are those of
//! `opentelemetry/proto/metrics/v1`.

use arrow::datatypes::Int64Type;

use crate::telemetry::columns::Lists;
use crate::telemetry::record::{
    Exemplar, Id, Metric, MetricType, NO_DATA, Number, Point, Reason, TWO_KINDS_OF_DATA, count, filled,
    too_many,
};
use crate::telemetry::tables::Metrics;
use crate::telemetry::{Decoder, Limits};

use super::wire::{Fields, Value, each_fixed64, each_varint};
use super::{Walk, value};

/// The metric's type by the number of the field that holds its data.
fn type_of(number: u32) -> Option<MetricType> {
    Some(match number {
        5 => MetricType::Gauge,
        7 => MetricType::Sum,
        9 => MetricType::Histogram,
        10 => MetricType::ExponentialHistogram,
        11 => MetricType::Summary,
        _ => return None,
    })
}

impl Walk<'_> {
    /// One metric with its points.
    pub(super) fn metric(&mut self, message: &[u8]) {
        let mut metric = Metric::default();
        let mut data = None;
        if let Err(reason) = head(message, &mut metric, &mut data) {
            self.decoder.note_fault("metric", &metric.label(), reason, message);
        }
        if let Some((metric_type, data)) = data
            && let Err(reason) = self.points(data, &metric, metric_type)
        {
            self.decoder.note_fault("metric", &metric.label(), reason, message);
        }
        self.decoder.end_group("metric", self.origin);
    }

    /// The points of a metric, which are field 1 whatever the type.
    fn points(&mut self, data: &[u8], metric: &Metric<'_>, metric_type: MetricType) -> Result<(), Reason> {
        let mut fields = Fields::new(data);
        while let Some((number, value)) = fields.next()? {
            if number == 1 {
                self.point(value.bytes("data point")?, metric, metric_type);
            }
        }
        Ok(())
    }

    fn point(&mut self, message: &[u8], metric: &Metric<'_>, metric_type: MetricType) {
        if self.decoder.group.rejects() {
            return;
        }
        let mut point = Point::default();
        let Decoder { metrics, limits, .. } = &mut *self.decoder;
        metrics.discard();
        let read = match metric_type {
            MetricType::Gauge | MetricType::Sum => number_point(message, &mut point, metrics, limits),
            MetricType::Histogram => histogram_point(message, &mut point, metrics, limits),
            MetricType::ExponentialHistogram => exponential_point(message, &mut point, metrics, limits),
            MetricType::Summary => summary_point(message, &mut point, metrics, limits),
        };
        if let Err(reason) = read.and_then(|()| self.decoder.push_point(&point, metric, metric_type)) {
            self.reject("metric", &format!("{}: {reason}", metric.label()), message);
        }
    }
}

/// Reads what the points of a metric share, and finds them.
fn head<'a>(
    message: &'a [u8],
    metric: &mut Metric<'a>,
    data: &mut Option<(MetricType, &'a [u8])>,
) -> Result<(), Reason> {
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => metric.name = value.text("name")?.into(),
            2 => metric.description = value.text("description")?.into(),
            3 => metric.unit = value.text("unit")?.into(),
            _ => {
                if let Some(metric_type) = type_of(number) {
                    if data.is_some() {
                        return Err(TWO_KINDS_OF_DATA.to_owned());
                    }
                    *data = Some((metric_type, value.bytes("data")?));
                }
            }
        }
    }
    filled("name", &metric.name)?;
    let Some((metric_type, data)) = *data else { return Err(NO_DATA.to_owned()) };
    let mut fields = Fields::new(data);
    if metric_type == MetricType::Sum {
        metric.is_monotonic = Some(false);
    }
    while let Some((number, value)) = fields.next()? {
        match (metric_type, number) {
            (MetricType::Gauge | MetricType::Summary, _) => {}
            (_, 2) => metric.set_temporality(value.int32("temporality")?)?,
            (MetricType::Sum, 3) => metric.is_monotonic = Some(value.varint("is_monotonic")? != 0),
            _ => {}
        }
    }
    Ok(())
}

fn number_point(
    message: &[u8],
    point: &mut Point,
    metrics: &mut Metrics,
    limits: &Limits,
) -> Result<(), Reason> {
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            2 => point.started_ns = value.fixed64("started_at")?.into(),
            3 => point.ts_ns = value.fixed64("ts")?.into(),
            4 => point.value = Some(Number::Double(value.double("value")?)),
            5 => exemplar(value, metrics, limits)?,
            6 => point.value = Some(Number::Int(value.fixed64("value")?.cast_signed())),
            7 => value::attribute(value, &mut metrics.attributes, limits)?,
            8 => point.flags = flags(value)?,
            _ => {}
        }
    }
    Ok(())
}

fn histogram_point(
    message: &[u8],
    point: &mut Point,
    metrics: &mut Metrics,
    limits: &Limits,
) -> Result<(), Reason> {
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            2 => point.started_ns = value.fixed64("started_at")?.into(),
            3 => point.ts_ns = value.fixed64("ts")?.into(),
            4 => point.count = value.fixed64("count")?.into(),
            5 => point.sum = Some(value.double("sum")?),
            6 => each_fixed64(value, "bucket counts", |value| {
                add_count(&mut metrics.bucket_counts, value, limits)
            })?,
            7 => each_fixed64(value, "explicit bounds", |value| {
                too_many("explicit bounds", metrics.explicit_bounds.open().len(), limits)?;
                metrics.explicit_bounds.add(f64::from_bits(value));
                Ok(())
            })?,
            8 => exemplar(value, metrics, limits)?,
            9 => value::attribute(value, &mut metrics.attributes, limits)?,
            10 => point.flags = flags(value)?,
            11 => point.min = Some(value.double("min")?),
            12 => point.max = Some(value.double("max")?),
            _ => {}
        }
    }
    Ok(())
}

fn exponential_point(
    message: &[u8],
    point: &mut Point,
    metrics: &mut Metrics,
    limits: &Limits,
) -> Result<(), Reason> {
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => value::attribute(value, &mut metrics.attributes, limits)?,
            2 => point.started_ns = value.fixed64("started_at")?.into(),
            3 => point.ts_ns = value.fixed64("ts")?.into(),
            4 => point.count = value.fixed64("count")?.into(),
            5 => point.sum = Some(value.double("sum")?),
            6 => point.scale = value.sint32("scale")?,
            7 => point.zero_count = value.fixed64("zero_count")?.into(),
            8 => point.positive_offset = buckets(value, &mut metrics.positive_bucket_counts, limits)?,
            9 => point.negative_offset = buckets(value, &mut metrics.negative_bucket_counts, limits)?,
            10 => point.flags = flags(value)?,
            11 => exemplar(value, metrics, limits)?,
            12 => point.min = Some(value.double("min")?),
            13 => point.max = Some(value.double("max")?),
            14 => point.zero_threshold = value.double("zero_threshold")?,
            _ => {}
        }
    }
    Ok(())
}

fn summary_point(
    message: &[u8],
    point: &mut Point,
    metrics: &mut Metrics,
    limits: &Limits,
) -> Result<(), Reason> {
    // A summary's sum is a plain number: left out, it is zero.
    point.sum = Some(0.0);
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            2 => point.started_ns = value.fixed64("started_at")?.into(),
            3 => point.ts_ns = value.fixed64("ts")?.into(),
            4 => point.count = value.fixed64("count")?.into(),
            5 => point.sum = Some(value.double("sum")?),
            6 => quantile(value, metrics, limits)?,
            7 => value::attribute(value, &mut metrics.attributes, limits)?,
            8 => point.flags = flags(value)?,
            _ => {}
        }
    }
    Ok(())
}

/// Flags are an `uint32`.
fn flags(value: Value<'_>) -> Result<i128, Reason> {
    value.varint("flags").map(|flags| i128::from(flags as u32))
}

fn add_count(list: &mut Lists<Int64Type>, value: u64, limits: &Limits) -> Result<(), Reason> {
    too_many("bucket counts", list.open().len(), limits)?;
    list.add(count("bucket count", value.into())?);
    Ok(())
}

/// Reads `Buckets` of an exponential histogram: the counts into the open row of a column; returns their offset.
fn buckets(value: Value<'_>, list: &mut Lists<Int64Type>, limits: &Limits) -> Result<i128, Reason> {
    let mut offset = 0;
    list.discard();
    let mut fields = value.message("buckets")?;
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => offset = value.sint32("offset")?,
            2 => each_varint(value, "bucket counts", |value| add_count(list, value, limits))?,
            _ => {}
        }
    }
    Ok(offset)
}

/// Adds a quantile of a summary to the open row of its column.
fn quantile(value: Value<'_>, metrics: &mut Metrics, limits: &Limits) -> Result<(), Reason> {
    too_many("quantiles", metrics.quantiles.open_elements(), limits)?;
    let (mut quantile, mut at_quantile) = (0.0, 0.0);
    let mut fields = value.message("quantile value")?;
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => quantile = value.double("quantile")?,
            2 => at_quantile = value.double("value")?,
            _ => {}
        }
    }
    metrics.quantiles.add(quantile, at_quantile);
    Ok(())
}

/// Adds an exemplar to the open row of its column.
fn exemplar(value: Value<'_>, metrics: &mut Metrics, limits: &Limits) -> Result<(), Reason> {
    too_many("exemplars", metrics.exemplars.open_elements(), limits)?;
    let mut exemplar = Exemplar::default();
    let mut fields = value.message("exemplar")?;
    while let Some((number, value)) = fields.next()? {
        match number {
            2 => exemplar.ts_ns = value.fixed64("ts of an exemplar")?.into(),
            3 => exemplar.value = Some(Number::Double(value.double("value of an exemplar")?)),
            4 => exemplar.span_id = Id::Bytes(value.bytes("span id of an exemplar")?),
            5 => exemplar.trace_id = Id::Bytes(value.bytes("trace id of an exemplar")?),
            6 => exemplar.value = Some(Number::Int(value.fixed64("value of an exemplar")?.cast_signed())),
            7 => value::attribute(value, &mut metrics.exemplars.attributes, limits)?,
            _ => {}
        }
    }
    metrics.push_exemplar(&exemplar)
}
