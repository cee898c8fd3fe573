//! Making metrics: whose they are, and what kind.

use prometheus::{
    Counter, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::registered;

type Result<T> = std::result::Result<T, prometheus::Error>;

/// Makes and registers metrics of one namespace. Each fails on a name that is there already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series<'a> {
    registry: &'a Registry,
    namespace: &'static str,
}

impl<'a> Series<'a> {
    /// Those named `ferroproxy_...`.
    pub(super) fn of_ferroproxy(registry: &'a Registry) -> Series<'a> {
        Series { registry, namespace: "ferroproxy" }
    }

    /// Those named `kubeproxy_...`.
    pub(super) fn of_kube_proxy(registry: &'a Registry) -> Series<'a> {
        Series { registry, namespace: "kubeproxy" }
    }

    fn opts(self, name: &str, help: &str) -> Opts {
        Opts::new(name, help).namespace(self.namespace)
    }

    /// A number that goes up and down.
    pub(super) fn gauge(self, name: &str, help: &str) -> Result<IntGauge> {
        registered(self.registry, IntGauge::with_opts(self.opts(name, help)))
    }

    /// The same by labels.
    pub(super) fn gauges(self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
        registered(self.registry, IntGaugeVec::new(self.opts(name, help), labels))
    }

    /// Times as Unix seconds, by labels.
    pub(super) fn times(self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec> {
        registered(self.registry, GaugeVec::new(self.opts(name, help), labels))
    }

    /// A number that only grows.
    pub(super) fn counter(self, name: &str, help: &str) -> Result<IntCounter> {
        registered(self.registry, IntCounter::with_opts(self.opts(name, help)))
    }

    /// The same by labels.
    pub(super) fn counters(self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
        registered(self.registry, IntCounterVec::new(self.opts(name, help), labels))
    }

    /// Seconds that add up.
    pub(super) fn seconds(self, name: &str, help: &str) -> Result<Counter> {
        registered(self.registry, Counter::with_opts(self.opts(name, help)))
    }

    /// A distribution.
    pub(super) fn histogram(self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram> {
        let opts = HistogramOpts::from(self.opts(name, help)).buckets(buckets.to_vec());
        registered(self.registry, Histogram::with_opts(opts))
    }

    /// The same by labels.
    pub(super) fn histograms(self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Result<HistogramVec> {
        let opts = HistogramOpts::from(self.opts(name, help)).buckets(buckets.to_vec());
        registered(self.registry, HistogramVec::new(opts, labels))
    }
}
