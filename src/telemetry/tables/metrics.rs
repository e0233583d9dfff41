//! `metrics` under construction.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder};
use arrow::datatypes::{Float64Type, Int64Type};

use crate::telemetry::columns::{Doubles, Exemplars, Ints, Lists, Map, Quantiles, SmallInts, Text, Times};
use crate::telemetry::record::{
    self, Exemplar, Metric, MetricType, Number, Point, Reason, SpanId, TraceId, event_time, optional_time,
    small,
};
use crate::telemetry::{Batch, Limits, Table};

use super::{Group, Range};

/// Bit of a point's flags: no value was recorded.
const FLAG_NO_RECORDED_VALUE: i128 = 1;

/// One row a data point.
#[derive(Default)]
pub(in crate::telemetry) struct Metrics {
    name: Text,
    metric_type: Text,
    description: Text,
    unit: Text,
    temporality: Text,
    is_monotonic: BooleanBuilder,
    service_name: Text,
    pub(in crate::telemetry) attributes: Map,
    resource_attributes: Map,
    scope_name: Text,
    started_at: Times,
    ts: Times,
    value: Doubles,
    value_int: Ints,
    count: Ints,
    sum: Doubles,
    min: Doubles,
    max: Doubles,
    pub(in crate::telemetry) bucket_counts: Lists<Int64Type>,
    pub(in crate::telemetry) explicit_bounds: Lists<Float64Type>,
    scale: SmallInts,
    zero_count: Ints,
    zero_threshold: Doubles,
    positive_offset: SmallInts,
    pub(in crate::telemetry) positive_bucket_counts: Lists<Int64Type>,
    negative_offset: SmallInts,
    pub(in crate::telemetry) negative_bucket_counts: Lists<Int64Type>,
    pub(in crate::telemetry) quantiles: Quantiles,
    pub(in crate::telemetry) exemplars: Exemplars,
    flags: SmallInts,
    times: Range,
}

/// A point's numbers, checked.
struct Checked {
    started_at: Option<i64>,
    ts: i64,
    count: i64,
    scale: i32,
    zero_count: i64,
    positive_offset: i32,
    negative_offset: i32,
    flags: i32,
}

impl Metrics {
    pub(in crate::telemetry) fn push(
        &mut self,
        point: &Point,
        metric: &Metric<'_>,
        metric_type: MetricType,
        group: &Group,
        limits: &Limits,
    ) -> Result<(), Reason> {
        let checked = self.check(point, metric_type, limits)?;
        let recorded = point.flags & FLAG_NO_RECORDED_VALUE == 0;

        self.times.add(checked.ts);
        self.name.push(&metric.name);
        self.metric_type.push(metric_type.name());
        self.description.push_or_null(&metric.description);
        self.unit.push_or_null(&metric.unit);
        self.temporality.push_or_null(metric.temporality.unwrap_or_default());
        self.is_monotonic.append_option(metric.is_monotonic);
        self.service_name.push_or_null(&group.service_name);
        self.attributes.close();
        self.resource_attributes.push(&group.attributes);
        self.scope_name.push_or_null(&group.scope_name);
        self.started_at.push_option(checked.started_at);
        self.ts.push(checked.ts);
        let value = if recorded { point.value } else { None };
        self.value.push_option(value.map(Number::double));
        self.value_int.push_option(match value {
            Some(Number::Int(value)) => Some(value),
            _ => None,
        });
        self.push_distribution(point, &checked, metric_type, recorded);
        self.quantiles.close(metric_type == MetricType::Summary);
        let exemplars = self.exemplars.open_elements() > 0;
        self.exemplars.close(exemplars);
        self.flags.push(checked.flags);
        Ok(())
    }

    /// Appends to the columns that only histograms and summaries have.
    fn push_distribution(
        &mut self,
        point: &Point,
        checked: &Checked,
        metric_type: MetricType,
        recorded: bool,
    ) {
        let explicit = metric_type == MetricType::Histogram;
        let exponential = metric_type == MetricType::ExponentialHistogram;
        let counted = recorded && (explicit || exponential || metric_type == MetricType::Summary);
        self.count.push_option(counted.then_some(checked.count));
        self.sum.push_option(point.sum.filter(|_| counted));
        self.min.push_option(point.min.filter(|_| counted));
        self.max.push_option(point.max.filter(|_| counted));
        self.bucket_counts.close(explicit);
        self.explicit_bounds.close(explicit);
        self.scale.push_option(exponential.then_some(checked.scale));
        self.zero_count.push_option(exponential.then_some(checked.zero_count));
        self.zero_threshold.push_option(exponential.then_some(point.zero_threshold));
        self.positive_offset.push_option(exponential.then_some(checked.positive_offset));
        self.positive_bucket_counts.close(exponential);
        self.negative_offset.push_option(exponential.then_some(checked.negative_offset));
        self.negative_bucket_counts.close(exponential);
    }

    fn check(&self, point: &Point, metric_type: MetricType, limits: &Limits) -> Result<Checked, Reason> {
        if metric_type == MetricType::Histogram {
            let (buckets, bounds) = (self.bucket_counts.open().len(), self.explicit_bounds.open().len());
            // No buckets at all is a histogram of count and sum only.
            if buckets != bounds + 1 && buckets + bounds > 0 {
                return Err(format!("{buckets} bucket counts with {bounds} bounds, {} expected", bounds + 1));
            }
        }
        Ok(Checked {
            started_at: optional_time("started_at", point.started_ns)?,
            ts: event_time("ts", point.ts_ns, limits)?,
            count: record::count("count", point.count)?,
            scale: small("scale", point.scale)?,
            zero_count: record::count("zero_count", point.zero_count)?,
            positive_offset: small("positive_offset", point.positive_offset)?,
            negative_offset: small("negative_offset", point.negative_offset)?,
            flags: flags(point.flags)?,
        })
    }

    /// Adds an exemplar to the open row, its attributes being written already.
    pub(in crate::telemetry) fn push_exemplar(&mut self, exemplar: &Exemplar<'_>) -> Result<(), Reason> {
        let ts = optional_time("ts of an exemplar", exemplar.ts_ns)?;
        let trace_id: Option<TraceId> = exemplar.trace_id.optional("trace id of an exemplar")?;
        let span_id: Option<SpanId> = exemplar.span_id.optional("span id of an exemplar")?;
        let column = &mut self.exemplars;
        column.ts.push_option(ts);
        column.value.push_option(exemplar.value.map(Number::double));
        column.trace_id.push_or_null(trace_id.as_ref().map_or("", TraceId::as_str));
        column.span_id.push_or_null(span_id.as_ref().map_or("", SpanId::as_str));
        column.attributes.close();
        Ok(())
    }

    #[inline]
    pub(in crate::telemetry) fn discard(&mut self) {
        self.attributes.discard();
        self.bucket_counts.discard();
        self.explicit_bounds.discard();
        self.positive_bucket_counts.discard();
        self.negative_bucket_counts.discard();
        self.quantiles.discard();
        self.exemplars.discard();
    }

    pub(in crate::telemetry) fn rows(&self) -> usize {
        self.ts.rows()
    }

    pub(in crate::telemetry) fn times(&self) -> Range {
        self.times
    }

    /// Bytes held, roughly.
    #[inline]
    pub(in crate::telemetry) fn size(&self) -> usize {
        // The numbers, the offsets of lists and the short words make about 192 bytes a row.
        192 * self.rows()
            + self.name.size()
            + self.description.size()
            + self.unit.size()
            + self.service_name.size()
            + self.attributes.size()
            + self.resource_attributes.size()
            + self.scope_name.size()
            + self.bucket_counts.size()
            + self.explicit_bounds.size()
            + self.positive_bucket_counts.size()
            + self.negative_bucket_counts.size()
            + self.quantiles.size()
            + self.exemplars.size()
    }

    pub(in crate::telemetry) fn finish(&mut self) -> Option<Batch> {
        let columns = vec![
            self.name.finish(),
            self.metric_type.finish(),
            self.description.finish(),
            self.unit.finish(),
            self.temporality.finish(),
            Arc::new(self.is_monotonic.finish()) as ArrayRef,
            self.service_name.finish(),
            self.attributes.finish(),
            self.resource_attributes.finish(),
            self.scope_name.finish(),
            self.started_at.finish(),
            self.ts.finish(),
            self.value.finish(),
            self.value_int.finish(),
            self.count.finish(),
            self.sum.finish(),
            self.min.finish(),
            self.max.finish(),
            self.bucket_counts.finish(),
            self.explicit_bounds.finish(),
            self.scale.finish(),
            self.zero_count.finish(),
            self.zero_threshold.finish(),
            self.positive_offset.finish(),
            self.positive_bucket_counts.finish(),
            self.negative_offset.finish(),
            self.negative_bucket_counts.finish(),
            self.quantiles.finish(),
            self.exemplars.finish(),
            self.flags.finish(),
        ];
        super::batch(Table::Metrics, columns, std::mem::take(&mut self.times).get())
    }
}

/// Flags are 32 bits on the wire; the column holds the same bits.
fn flags(value: i128) -> Result<i32, Reason> {
    match u32::try_from(value) {
        Ok(flags) => Ok(flags.cast_signed()),
        Err(_) => Err(format!("flags {value} is outside 0 to {}", u32::MAX)),
    }
}
