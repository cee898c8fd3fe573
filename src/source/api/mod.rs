//! The Kubernetes API as a source: one list-and-watch task a kind.

mod ask;
mod backoff;
mod client;
mod event;
mod failure;
mod version;
mod watch;

use std::sync::Arc;

use kube::Client;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::model::{ApiConfig, Encoding, Event};

use super::feed::{Feed, SourceStats};
use super::kind::Kind;
use super::meta::{HEADLESS, PROXY_NAME};
use super::node::{SlimNode, normalised};
use super::service::SlimService;
use super::service_cidr::SlimServiceCidr;
use super::slice::SlimSlice;

pub use client::{ConnectError, connect};

/// Connects to the API server that `config` names and starts to list and watch Services, EndpointSlices, the Node `node_name`
/// and ServiceCIDRs.
///
/// Every kind begins with a full list, and a list that replaces it may follow at any time. A server that cannot be reached,
/// or that refuses, is logged and asked again for ever. ServiceCIDRs the server has not got, or does not show us, are told as
/// an empty list.
///
/// # Errors
/// When the configuration cannot be used; the server itself is not asked yet.
pub async fn stream(config: &ApiConfig, node_name: &str) -> Result<Feed, ConnectError> {
    Ok(watch(connect(config).await?, node_name, config.encoding))
}

/// The same as [`stream`] with a client that exists. Needs a tokio runtime.
pub fn watch(client: Client, node_name: &str, encoding: Encoding) -> Feed {
    let stats = Arc::new(SourceStats::default());
    let (sender, events) = unbounded_channel();
    let entrance = sender.downgrade();
    let mut tasks = Tasks { client, encoding, sender, stats: stats.clone(), set: JoinSet::new() };
    let spec = watch::Spec { streaming: true, ..watch::Spec::default() };
    tasks.spawn::<SlimService>(watch::Spec {
        labels: Some(format!("!{PROXY_NAME}")),
        fields: Some("spec.clusterIP!=None".to_owned()),
        ..spec.clone()
    });
    tasks.spawn::<SlimSlice>(watch::Spec { labels: Some(format!("!{HEADLESS}")), ..spec.clone() });
    let fields = Some(format!("metadata.name={}", normalised(node_name)));
    tasks.spawn::<SlimNode>(watch::Spec { fields, ..watch::Spec::default() });
    tasks.spawn::<SlimServiceCidr>(watch::Spec { optional: true, ..spec });
    Feed { events, stats, entrance, tasks: tasks.set }
}

struct Tasks {
    client: Client,
    encoding: Encoding,
    sender: UnboundedSender<Vec<Event>>,
    stats: Arc<SourceStats>,
    set: JoinSet<()>,
}

impl Tasks {
    fn spawn<K: Kind>(&mut self, spec: watch::Spec) {
        let asker = ask::Asker::<K>::new(self.client.clone(), self.encoding);
        self.set.spawn(watch::Watch::new(asker, spec, self.sender.clone(), self.stats.clone()).run());
    }
}
