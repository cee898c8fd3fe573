//! The floor: a client that lists and watches and does nothing with what it hears.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use http::HeaderValue;
use http::header::ACCEPT;
use http_body_util::BodyExt;
use kube::Client;
use kube::core::Request;
use kube::core::params::{ListParams, WatchParams};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};
use tokio_util::io::StreamReader;

use crate::figures::median;

const SERVICES: &str = "/api/v1/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
/// As ferroproxy asks.
const LIST: HeaderValue = HeaderValue::from_static("application/vnd.kubernetes.protobuf");
const WATCH: HeaderValue = HeaderValue::from_static("application/vnd.kubernetes.protobuf;stream=watch");

/// A client of the API server that a kubeconfig names.
pub struct Bare {
    runtime: tokio::runtime::Runtime,
    client: Client,
    server: Option<std::net::SocketAddr>,
}

impl Bare {
    /// Makes the client.
    pub fn new(kubeconfig: &str) -> Bare {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let config = ferroproxy::model::ApiConfig { kubeconfig: Some(kubeconfig.into()), ..Default::default() };
        let client = runtime.block_on(ferroproxy::source::api::connect(&config)).expect("a client");
        let file = kube::config::Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let url = file.clusters.first().and_then(|cluster| cluster.cluster.as_ref()?.server.clone());
        let server = url.and_then(|url| url.split("//").nth(1)?.trim_end_matches('/').parse().ok());
        Bare { runtime, client, server }
    }

    /// Sends requests, so many at once. An object that is there already is no trouble.
    pub fn send_all(&self, requests: impl Iterator<Item = http::Request<Vec<u8>>>, at_once: usize) {
        let send = |request: http::Request<Vec<u8>>| {
            let client = self.client.clone();
            async move { client.request::<serde_json::Value>(request).await }
        };
        let all = futures::stream::iter(requests).map(send).buffer_unordered(at_once);
        self.runtime.block_on(all.for_each(async |answer| {
            let conflict = matches!(&answer, Err(kube::Error::Api(status)) if status.code == 409);
            assert!(answer.is_ok() || conflict, "{answer:?}");
        }));
    }

    /// Reads one object.
    pub fn get(&self, path: &str) -> serde_json::Value {
        let request = http::Request::get(path).body(Vec::new()).expect("a request");
        self.runtime.block_on(self.client.request(request)).expect("an object")
    }

    /// The server's address, where the kubeconfig names one.
    pub fn server(&self) -> Option<std::net::SocketAddr> {
        self.server
    }

    /// How long both lists take, one beside the other, read and not looked at. The median of three.
    pub fn lists(&self) -> Duration {
        median((0..3).map(|_| self.list_both()).collect())
    }

    fn list_both(&self) -> Duration {
        let begun = Instant::now();
        let list = |path: &str| {
            let params = ListParams { resource_version: Some("0".to_owned()), ..ListParams::default() };
            let mut request = Request::new(path).list(&params).expect("a request");
            request.headers_mut().insert(ACCEPT, LIST);
            let client = self.client.clone();
            async move {
                let stream = client.send(request.map(Into::into)).await.expect("an answer").into_body();
                stream.into_data_stream().try_fold(0, async |sum, chunk| Ok(sum + chunk.len())).await.expect("a body")
            }
        };
        let both = async { tokio::join!(list(SERVICES), list(SLICES)) };
        let (services, slices) = self.runtime.block_on(both);
        assert!(services > 1_000 && slices > 1_000, "the lists are not empty");
        begun.elapsed()
    }

    /// Watches the slices from now on: when each event had arrived, whole and unread.
    pub fn watch(&self) -> Receiver<Instant> {
        let (sender, receiver) = channel();
        let client = self.client.clone();
        let version = self.runtime.block_on(version(&client));
        self.runtime.spawn(async move {
            let params = WatchParams { bookmarks: false, ..WatchParams::default() };
            let mut request = Request::new(SLICES).watch(&params, &version).expect("a request");
            request.headers_mut().insert(ACCEPT, WATCH);
            let body = client.send(request.map(Into::into)).await.expect("a watch").into_body();
            let reader = StreamReader::new(body.into_data_stream().map_err(std::io::Error::other));
            let mut frames = FramedRead::new(reader, LengthDelimitedCodec::new());
            while let Some(Ok(_)) = frames.next().await {
                if sender.send(Instant::now()).is_err() {
                    return;
                }
            }
        });
        receiver
    }
}

/// The server's version now.
async fn version(client: &Client) -> String {
    let request = Request::new(SLICES).list(&ListParams::default().limit(1)).expect("a request");
    let list = client.request::<serde_json::Value>(request).await.expect("a list");
    list["metadata"]["resourceVersion"].as_str().expect("a version").to_owned()
}
