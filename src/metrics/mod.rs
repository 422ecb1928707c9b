//! Numbers about this process for Prometheus: the [`catalogue`] says which there are, [`Metrics`] holds what was recorded.
//!
//! One handle per process is made with its `Store` and passed up from there. What happens is
//! counted where it happens; what merely *is* (an age, a number of sessions) is not kept here but measured when somebody
//! asks, into a handle of its own (see [`Metrics::exposition`]), so that no series outlives what it tells of.

pub mod catalogue;

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter as CounterSeries;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge as GaugeSeries;
use prometheus_client::metrics::histogram::Histogram as HistogramSeries;
use prometheus_client::registry::Registry;

/// The media type of [`Metrics::exposition`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Marks a metric that only grows, from zero at start.
#[derive(Debug, Clone, Copy)]
pub enum Counter {}

/// Marks a metric that goes up and down.
#[derive(Debug, Clone, Copy)]
pub enum Gauge {}

/// Marks a metric that counts values in buckets.
#[derive(Debug, Clone, Copy)]
pub enum Histogram {}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// See [`Counter`].
    Counter,
    /// See [`Gauge`].
    Gauge,
    /// See [`Histogram`].
    Histogram,
}

/// What there is to know of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct About {
    /// Its name in queries.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What it tells, without the final dot.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// The upper bounds of a histogram's buckets.
    pub buckets: &'static [f64],
}

/// An entry of the catalogue, of a kind and with `N` labels.
#[derive(Debug, Clone, Copy)]
pub struct Metric<K, const N: usize> {
    about: About,
    kind: PhantomData<K>,
}

type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, CounterSeries>;
type Gauges = Family<Labels, GaugeSeries<f64, AtomicU64>>;
type Histograms = Family<Labels, HistogramSeries, Buckets>;

#[derive(Debug, Clone)]
struct Buckets(&'static [f64]);

impl MetricConstructor<HistogramSeries> for Buckets {
    fn new_metric(&self) -> HistogramSeries {
        HistogramSeries::new(self.0.iter().copied())
    }
}

/// What was recorded; clones are the same.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    registry: Registry,
    counters: HashMap<&'static str, Counters>,
    gauges: HashMap<&'static str, Gauges>,
    histograms: HashMap<&'static str, Histograms>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut inner = Inner::default();
        for about in catalogue::CATALOGUE {
            inner.register(about);
        }
        Self(Arc::new(inner))
    }
}

impl Inner {
    fn register(&mut self, about: &About) {
        // The format appends `_total` itself.
        let name = about.name.strip_suffix("_total").unwrap_or(about.name);
        match about.kind {
            Kind::Counter => {
                let family = Counters::default();
                self.registry.register(name, about.help, family.clone());
                self.counters.insert(about.name, family);
            }
            Kind::Gauge => {
                let family = Gauges::default();
                self.registry.register(name, about.help, family.clone());
                self.gauges.insert(about.name, family);
            }
            Kind::Histogram => {
                let family = Histograms::new_with_constructor(Buckets(about.buckets));
                self.registry.register(name, about.help, family.clone());
                self.histograms.insert(about.name, family);
            }
        }
    }
}

impl Metrics {
    /// Counts one more; `values` are those of the labels, in their order.
    pub fn count<const N: usize>(&self, metric: &Metric<Counter, N>, values: [&str; N]) {
        self.add(metric, values, 1);
    }

    /// Counts `more` at once.
    pub fn add<const N: usize>(&self, metric: &Metric<Counter, N>, values: [&str; N], more: u64) {
        if let Some(family) = self.0.counters.get(metric.about.name) {
            family.get_or_create(&metric.labels(values)).inc_by(more);
        }
    }

    /// Says what it is now.
    pub fn set<const N: usize>(&self, metric: &Metric<Gauge, N>, values: [&str; N], now: f64) {
        if let Some(family) = self.0.gauges.get(metric.about.name) {
            family.get_or_create(&metric.labels(values)).set(now);
        }
    }

    /// Puts a value into its bucket.
    pub fn observe<const N: usize>(&self, metric: &Metric<Histogram, N>, values: [&str; N], value: f64) {
        if let Some(family) = self.0.histograms.get(metric.about.name) {
            family.get_or_create(&metric.labels(values)).observe(value);
        }
    }

    /// All of it in the OpenMetrics text format, with what `now` holds: what was measured because somebody asks.
    pub fn exposition(&self, now: &Self) -> String {
        let mut text = String::new();
        let written = encode_registry(&mut text, &self.0.registry)
            .and_then(|()| encode_registry(&mut text, &now.0.registry))
            .and_then(|()| encode_eof(&mut text));
        debug_assert!(written.is_ok(), "a String takes whatever is written to it");
        text
    }
}

impl<K, const N: usize> Metric<K, N> {
    /// What there is to know of it.
    pub const fn about(&self) -> &About {
        &self.about
    }

    fn labels(&self, values: [&str; N]) -> Labels {
        self.about.labels.iter().zip(values).map(|(label, value)| (*label, value.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::catalogue::{BUS_LAG, CATALOGUE, HTTP_REQUESTS, LABELS, MONGO_OP_SECONDS};
    use super::*;

    #[test]
    fn recorded_and_measured_numbers_are_told_once_each() {
        let (recorded, measured) = (Metrics::default(), Metrics::default());
        recorded.count(&HTTP_REQUESTS, ["portal", "/{x}", "GET", "2xx"]);
        recorded.count(&HTTP_REQUESTS, ["portal", "/{x}", "GET", "2xx"]);
        recorded.observe(&MONGO_OP_SECONDS, ["read"], 0.003);
        measured.set(&BUS_LAG, [], 0.25);
        let text = recorded.exposition(&measured);
        for line in [
            "# TYPE postern_http_requests counter",
            "postern_http_requests_total{surface=\"portal\",route=\"/{x}\",method=\"GET\",status=\"2xx\"} 2",
            "postern_mongo_op_duration_seconds_bucket{le=\"0.001\",op=\"read\"} 0",
            "postern_mongo_op_duration_seconds_bucket{le=\"0.005\",op=\"read\"} 1",
            "postern_mongo_op_duration_seconds_count{op=\"read\"} 1",
            "postern_bus_lag_seconds 0.25",
        ] {
            assert_eq!(text.lines().filter(|found| *found == line).count(), 1, "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n") && text.matches("# TYPE").count() == 3, "{text}");
    }

    #[test]
    fn the_catalogue_keeps_its_own_rules() {
        let names: BTreeSet<&str> = CATALOGUE.iter().map(|about| about.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
        for about in CATALOGUE {
            assert!(about.name.starts_with("postern_"), "{about:?}");
            assert_eq!(about.name.ends_with("_total"), about.kind == Kind::Counter, "{about:?}");
            assert_eq!(about.buckets.is_empty(), about.kind != Kind::Histogram, "{about:?}");
            assert!(!about.help.is_empty() && !about.help.ends_with('.'), "{about:?}");
            assert!(about.labels.iter().all(|label| LABELS.contains(label)), "{about:?}");
        }
    }
}
