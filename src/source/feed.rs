//! What a source hands to the agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, WeakUnboundedSender};
use tokio::task::JoinSet;

use super::addresses::{AddressError, Watch};
use crate::model::{Event, ObjectKind};

/// A running source. Dropping it ends the source's tasks.
#[derive(Debug)]
pub struct Feed {
    /// Batches of events. One batch is one object's story or one full list; apply all of it before the next sync.
    /// `recv` never answers `None` while the source runs.
    pub events: UnboundedReceiver<Vec<Event>>,
    /// Counters of the source, shared with its tasks.
    pub stats: Arc<SourceStats>,
    /// A way in for streams that join. Weak: the feed ends when its own source ends.
    pub(crate) entrance: WeakUnboundedSender<Vec<Event>>,
    pub(crate) tasks: JoinSet<()>,
}

impl Feed {
    /// Tells the addresses on this network namespace's interfaces too: now, and whenever they change. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel does not let us ask.
    pub fn with_local_addresses(mut self) -> Result<Feed, AddressError> {
        self.tasks.spawn(Watch::start(self.entrance.clone())?.run());
        Ok(self)
    }
}

/// Counters of a source. They only ever grow.
#[derive(Debug, Default)]
pub struct SourceStats {
    services: AtomicU64,
    slices: AtomicU64,
    nodes: AtomicU64,
    service_cidrs: AtomicU64,
    manifests: AtomicU64,
}

impl SourceStats {
    /// How often listing or watching the kind has failed and was begun again. For [`ObjectKind::Manifest`], how often the
    /// directory could not be read. A watch that the server ends after its time is no failure.
    pub fn restarts(&self, kind: ObjectKind) -> u64 {
        self.counter(kind).load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, kind: ObjectKind) {
        self.counter(kind).fetch_add(1, Ordering::Relaxed);
    }

    fn counter(&self, kind: ObjectKind) -> &AtomicU64 {
        match kind {
            ObjectKind::Service => &self.services,
            ObjectKind::EndpointSlice => &self.slices,
            ObjectKind::Node => &self.nodes,
            ObjectKind::ServiceCidr => &self.service_cidrs,
            ObjectKind::Manifest => &self.manifests,
        }
    }
}
