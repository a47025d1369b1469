use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::names::Metric;

/// A sample's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

/// A scrape's page, written metric by metric.
pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

impl Page<'_> {
    /// Writes a metric and its samples: for each the labels' values, in the metric's order, and the value.
    pub(super) fn write<'s, V: Into<Value>, const N: usize>(
        &mut self,
        metric: &Metric,
        samples: impl IntoIterator<Item = ([&'s str; N], V)>,
    ) -> fmt::Result {
        debug_assert_eq!(metric.labels.len(), N, "labels of {}", metric.name);
        let unit = metric.unit.map(Unit::from);
        let mut family = self.0.encode_descriptor(metric.name, metric.help, unit.as_ref(), metric.kind)?;
        for (values, value) in samples {
            if N == 0 {
                put(&mut family, metric.kind, value.into())?;
                continue;
            }
            let labels: Vec<(&str, &str)> = metric.labels.iter().copied().zip(values).collect();
            put(&mut family.encode_family(&labels)?, metric.kind, value.into())?;
        }
        Ok(())
    }

    /// Writes a metric without labels.
    pub(super) fn one(&mut self, metric: &Metric, value: impl Into<Value>) -> fmt::Result {
        self.write(metric, [([], value)])
    }
}

fn put(sample: &mut MetricEncoder<'_>, kind: MetricType, value: Value) -> fmt::Result {
    match (kind, value) {
        (MetricType::Counter, Value::Whole(value)) => sample.encode_counter::<NoLabelSet, u64, u64>(&value, None),
        (MetricType::Counter, Value::Real(value)) => sample.encode_counter::<NoLabelSet, f64, u64>(&value, None),
        (_, Value::Whole(value)) => sample.encode_gauge(&value),
        (_, Value::Real(value)) => sample.encode_gauge(&value),
    }
}
