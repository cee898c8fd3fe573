//! criterion benches of the pure rooms: decode, compile, diff, encode.

// The modules are shared with other benches and tests, which use more of them.
#![allow(dead_code, missing_docs, unreachable_pub)]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/objects.rs"]
mod objects;
#[path = "../tests/support/mod.rs"]
mod support;

use std::convert::Infallible;
use std::hint::black_box;

use cluster::Cluster;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ferroproxy::agent::{Arrivals, Engine, Rules, plan};
use ferroproxy::apply::diff;
use ferroproxy::apply::netlink::Netlink;
use ferroproxy::apply::target::{CommitError, Live, Receipt, Target};
use ferroproxy::apply::transaction::Transaction;
use ferroproxy::model::{Change, Config, Encoding, Event, Family, SourceConfig};
use ferroproxy::source::api;
use ferroproxy::state::State;
use futures::StreamExt;
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use hyper::{Request, Response};
use kube::Client;
use serde_json::{Value, json};

const SIZES: [usize; 2] = [100, 1_000];
const ENDPOINTS: usize = 10;

fn config() -> Config {
    Config::new(SourceConfig::Manifests("unused".into()), "n")
}

fn state(services: usize) -> State {
    let mut state = State::new();
    Cluster::new(services, ENDPOINTS).list().into_iter().for_each(|event| state.apply(event));
    state
}

/// The API server's answers to events of the model: streaming lists, from memory.
fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for services in SIZES {
        let lines = |kind: &str, object: fn(usize) -> Value| -> Bytes {
            let added = (0..services).map(|n| json!({"type": "ADDED", "object": object(n)}).to_string() + "\n");
            let mark = json!({"type": "BOOKMARK", "object": {"kind": kind, "apiVersion": "v1", "metadata": {
                "resourceVersion": "9", "annotations": {"k8s.io/initial-events-end": "true"}}}});
            added.chain([mark.to_string() + "\n"]).collect::<String>().into()
        };
        let lists = [lines("Service", objects::service), lines("EndpointSlice", |n| objects::slice(n, ENDPOINTS, 0))];
        group.throughput(Throughput::Bytes(lists.iter().map(|list| list.len() as u64).sum()));
        group.bench_function(BenchmarkId::new("lists", services), |b| b.iter(|| runtime.block_on(both(&lists))));
    }
}

/// Decodes both lists through the whole source.
async fn both([services, slices]: &[Bytes; 2]) -> usize {
    let (services, slices) = (services.clone(), slices.clone());
    let server = tower::service_fn(move |request: Request<kube::client::Body>| {
        let body = match request.uri().path() {
            path if path.ends_with("/services") => services.clone(),
            path if path.ends_with("/endpointslices") => slices.clone(),
            _ => Bytes::new(),
        };
        let first = request.uri().query().is_some_and(|query| query.contains("sendInitialEvents"));
        async move {
            // A watch that goes on from the list stays open and silent.
            let silence = futures::stream::pending::<Result<Frame<Bytes>, Infallible>>();
            let told = futures::stream::iter((first && !body.is_empty()).then(|| Ok(Frame::data(body))));
            Ok::<_, Infallible>(Response::new(StreamBody::new(told.chain(silence))))
        }
    });
    let mut feed = api::watch(Client::new(server, "default"), "n", Encoding::Json);
    let (mut lists, mut events) = (0, 0);
    while lists < 2 {
        let batch = feed.events.recv().await.expect("the source goes on");
        lists +=
            usize::from(matches!(batch.last(), Some(Event::Service(Change::Synced) | Event::Slice(Change::Synced))));
        events += batch.len();
    }
    events
}

/// State known to ruleset.
fn compile(c: &mut Criterion) {
    let mut group = c.benchmark_group("compile");
    for services in SIZES {
        let state = state(services);
        group.throughput(Throughput::Elements((services * ENDPOINTS) as u64));
        group.bench_function(BenchmarkId::new("all", services), |b| {
            b.iter(|| plan(&config(), black_box(state.snapshot()), &[Family::V4], Default::default()));
        });
    }
}

/// A draft of which nothing is in force to a transaction, and the transaction to bytes.
fn diff_and_encode(c: &mut Criterion) {
    let Ok(netlink) = Netlink::open() else { return eprintln!("no nf_tables here: diff and encode are left out") };
    for services in SIZES {
        let (compiler, _) = plan(&config(), state(services).snapshot(), &[Family::V4], Default::default());
        c.bench_function(&format!("diff/all/{services}"), |b| b.iter(|| diff(black_box(compiler.draft()))));
        let transaction = diff(compiler.draft());
        c.bench_function(&format!("encode/all/{services}"), |b| b.iter(|| netlink.encode(black_box(&transaction))));
    }
}

/// Takes every transaction and keeps none: the kernel's part is measured elsewhere, and the tests' model of it copies whole tables.
struct Taker;

impl Target for Taker {
    fn commit(&mut self, transaction: &Transaction) -> Receipt {
        black_box(transaction);
        Receipt::default()
    }

    fn read_back(&mut self) -> Result<Live, CommitError> {
        Ok(Live::default())
    }

    fn generation(&mut self) -> Result<u32, CommitError> {
        Ok(0)
    }
}

/// One changed slice from the store to a transaction that is taken.
fn one_change(c: &mut Criterion) {
    let mut group = c.benchmark_group("one change");
    for services in SIZES {
        let mut cluster = Cluster::new(services, ENDPOINTS);
        let mut state = state(services);
        let mut engine = Engine::new(config(), vec![Family::V4], Taker);
        let changes = state.take_changes();
        engine.sync(state.snapshot(), changes, &Arrivals::default());
        let mut n = 0;
        group.bench_function(BenchmarkId::new("an endpoint replaced", services), |b| {
            b.iter_batched(
                || {
                    n += 1;
                    cluster.replace_endpoint(n)
                },
                |events| {
                    events.into_iter().for_each(|event| state.apply(event));
                    let changes = state.take_changes();
                    engine.sync(state.snapshot(), changes, &Arrivals::default())
                },
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, decode, compile, diff_and_encode, one_change);
criterion_main!(benches);
