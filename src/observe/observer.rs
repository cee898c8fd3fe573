//! The handle by which the agent tells what happened.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::http::{BindError, Servers};
use super::status::Board;
use super::{Health, HealthStatus, Metrics, Moment, Status};
use crate::model::{
    Config, Connections, Family, HealthChecks, IptablesFigures, MapFill, ModeReason, Node, ObjectKind, ProxyMode,
    Rejection, SyncReport,
};

/// Metrics and health behind one handle. Clones share the state; every method is cheap and none blocks for long.
#[derive(Clone, Debug)]
pub struct Observer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    metrics: Metrics,
    health: Mutex<Health>,
    board: Mutex<Board>,
    checks: watch::Sender<HealthChecks>,
}

impl Observer {
    /// Nothing synced yet. A change may wait twice `sync_period` before `/healthz` complains.
    ///
    /// The error would be a metric name registered twice.
    pub fn new(sync_period: Duration) -> Result<Observer, prometheus::Error> {
        let health = Mutex::new(Health::new(sync_period.saturating_mul(2)));
        let board = Mutex::new(Board::new(Instant::now()));
        let shared = Shared { metrics: Metrics::new()?, health, board, checks: watch::Sender::default() };
        Ok(Observer { shared: Arc::new(shared) })
    }

    /// A change for these families arrived and waits for a sync.
    pub fn queued(&self, now: Moment, families: &[Family]) {
        self.health().queued(now.steady, families);
        self.shared.metrics.queued(now.wall, families);
    }

    /// So many Service and EndpointSlice events wait for a sync; the next report sets both to 0.
    pub fn pending(&self, services: usize, endpoints: usize) {
        self.shared.metrics.pending(services, endpoints);
    }

    /// A sync has just ended. Its rejections are counted too.
    pub fn report(&self, report: &SyncReport) {
        let now = Instant::now();
        self.health().report(report, now);
        self.board().report(report, now);
        self.shared.metrics.report(report);
    }

    /// How many elements rules have learned by themselves in each map.
    pub fn learned(&self, maps: Vec<MapFill>) {
        self.board().learned = maps;
    }

    /// New connections to service ports since the last time; series for at most `most` ports, one for all the others.
    pub fn connections(&self, new: &[Connections], most: usize) {
        self.shared.metrics.connections(new, most);
    }

    /// This mode runs, for this reason.
    pub fn mode(&self, mode: ProxyMode, reason: ModeReason) {
        self.shared.metrics.mode(mode, reason);
    }

    /// A sync in iptables mode had these figures.
    pub fn iptables(&self, figures: &IptablesFigures) {
        self.shared.metrics.iptables(figures);
    }

    /// The own Node as it is now; `None` after it was known means that it is gone.
    pub fn node(&self, node: Option<&Node>) {
        self.health().node(node);
    }

    /// The health check servers wanted from now on; `None` leaves things as they are. What is left out here never answers 200 again,
    /// from the moment this returns.
    pub fn health_checks(&self, wanted: Option<HealthChecks>) {
        if let Some(wanted) = wanted {
            self.shared.checks.send_replace(wanted);
        }
    }

    /// The health check servers wanted, to follow.
    pub(super) fn wanted_health_checks(&self) -> watch::Receiver<HealthChecks> {
        self.shared.checks.subscribe()
    }

    /// An object could not be used, in whole or in part. Not for rejections that stand in a report.
    pub fn rejected(&self, rejection: &Rejection) {
        self.shared.metrics.rejected(rejection);
    }

    /// The watch of a kind ended and began anew.
    pub fn watch_restarted(&self, kind: ObjectKind) {
        self.board().watch_restarted();
        self.shared.metrics.watch_restarted(kind);
    }

    /// Stale rules of a family could not be removed.
    pub fn cleanup_failed(&self, family: Family) {
        self.shared.metrics.cleanup_failed(family);
    }

    /// Conntrack entries of a family were compared with the endpoints; so many were deleted.
    pub fn conntrack_reconciled(&self, family: Family, took: Duration, deleted: usize) {
        self.shared.metrics.conntrack_reconciled(family, took, deleted);
    }

    /// What `/livez` answers: the rules' part of health. Not counted.
    pub fn livez(&self, now: Moment) -> HealthStatus {
        self.health().livez(now)
    }

    /// What `/healthz` answers. Not counted.
    pub fn healthz(&self, now: Moment) -> HealthStatus {
        self.health().healthz(now)
    }

    /// What `ferroproxy status` shows.
    pub fn status(&self, now: Moment) -> Status {
        let health = self.healthz(now);
        self.board().status(&health, now.steady)
    }

    /// The metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When the client library refuses; it has no reason to.
    pub fn render_metrics(&self) -> Result<String, prometheus::Error> {
        let board = self.board();
        self.shared.metrics.fill(&board.maps);
        self.shared.metrics.fill(&board.learned);
        drop(board);
        self.shared.metrics.render()
    }

    /// The metrics, for rendering or for what has no method here.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Binds the servers of the configuration and serves until [`Servers::shutdown`]. Needs a tokio runtime.
    ///
    /// An address that cannot be bound is an error with `bindAddressHardFail`; otherwise it is logged as a warning and
    /// tried again every few seconds.
    pub async fn serve(&self, config: &Config) -> Result<Servers, BindError> {
        self.board().configure(config);
        Servers::start(self.clone(), config).await
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.shared.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A panic elsewhere leaves the health readable: every change to it is a plain store.
    fn health(&self) -> MutexGuard<'_, Health> {
        self.shared.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
