//! The Kubernetes API as a source, against a fake API server that misbehaves on demand.

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use ferroproxy::model::{ApiConfig, ObjectKind, ObjectName};
use ferroproxy::source::{Feed, api};
use serde_json::{Value, json};
use support::fake_api::{Disturbance, FakeApi, Fault, Resource, Verb};
use support::world::World;

const ALWAYS: usize = 1_000_000;

fn service(name: &str, ip: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
    })
}

fn slice(name: &str, service: &str, ip: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": [{"addresses": [ip]}], "ports": [{"name": "http", "port": 8080}],
    })
}

async fn connect(fake: &FakeApi) -> Feed {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = Some(fake.write_kubeconfig(dir.path()));
    api::stream(&ApiConfig { kubeconfig, ..ApiConfig::default() }, "node-a").await.unwrap()
}

/// A source that has told its first lists and watches.
async fn synced(fake: &FakeApi) -> (Feed, World) {
    let (mut feed, mut world) = (connect(fake).await, World::default());
    world.until(&mut feed, World::synced).await;
    fake.wait_watching(Resource::Services, 1);
    (feed, world)
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| format!("shop/{name}")).collect()
}

/// Makes sure that all before this moment was told: a new service is the last to come.
async fn settle(fake: &FakeApi, feed: &mut Feed, world: &mut World) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("last-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let last = ObjectName::new("shop", name.as_str());
    fake.put_service(service(&name, "10.96.9.9"));
    world.until(feed, |world| world.services.objects.contains_key(&last)).await;
    fake.delete(Resource::Services, &format!("shop/{name}"));
    world.until(feed, |world| !world.services.objects.contains_key(&last)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_listed_first_and_then_watched() {
    let fake = FakeApi::start();
    fake.put_service(service("web", "10.96.0.1"));
    fake.put_slice(slice("web-1", "web", "10.1.0.1"));
    fake.put_node(json!({"metadata": {"name": "node-a"}, "spec": {"podCIDRs": ["10.1.0.0/24"]}}));
    fake.put_node(json!({"metadata": {"name": "node-b"}}));
    fake.put_service_cidr(json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/12"]}}));
    let (mut feed, mut world) = synced(&fake).await;
    assert_eq!(world.service_names(), names(&["web"]));
    assert_eq!(world.slices.objects.len(), 1);
    assert_eq!(world.nodes.objects.keys().collect::<Vec<_>>(), ["node-a"]);
    assert_eq!(world.cidrs.objects["kubernetes"].cidrs, ["10.96.0.0/12".parse().unwrap()]);

    fake.put_service(service("shop", "10.96.0.2"));
    fake.put_slice(slice("web-1", "web", "10.1.0.7"));
    world.until(&mut feed, |world| world.services.objects.len() == 2).await;
    let moved = |world: &World| world.slices.objects.values().any(|s| s.endpoints[0].address.to_string() == "10.1.0.7");
    world.until(&mut feed, moved).await;
    fake.delete(Resource::Services, "shop/web");
    world.until(&mut feed, |world| world.service_names() == names(&["shop"])).await;
    assert_eq!((world.services.lists, world.slices.lists), (1, 1));
    assert_eq!(world.rejections, []);
    assert_eq!(feed.stats.restarts(ObjectKind::Service), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_of_others_are_selected_away_by_the_server() {
    let fake = FakeApi::start();
    fake.put_service(service("web", "10.96.0.1"));
    fake.put_service(service("headless", "None"));
    let mut foreign = service("foreign", "10.96.0.3");
    foreign["metadata"]["labels"] = json!({"service.kubernetes.io/service-proxy-name": "other"});
    fake.put_service(foreign);
    let (_feed, world) = synced(&fake).await;
    assert_eq!(world.service_names(), names(&["web"]));
    let query = &fake.requests(Resource::Services, Verb::Watch)[0];
    assert!(query.contains("labelSelector=%21service.kubernetes.io%2Fservice-proxy-name"), "{query}");
    assert!(query.contains("fieldSelector=spec.clusterIP%21%3DNone"), "{query}");
    let query = &fake.requests(Resource::Slices, Verb::Watch)[0];
    assert!(query.contains("labelSelector=%21service.kubernetes.io%2Fheadless"), "{query}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_appears_deletes_and_one_that_goes_adds() {
    let fake = FakeApi::start();
    fake.put_service(service("web", "10.96.0.1"));
    let (mut feed, mut world) = synced(&fake).await;
    let mut handed_over = service("web", "10.96.0.1");
    handed_over["metadata"]["labels"] = json!({"service.kubernetes.io/service-proxy-name": "other"});
    fake.put_service(handed_over);
    world.until(&mut feed, |world| world.services.objects.is_empty()).await;
    fake.put_service(service("web", "10.96.0.1"));
    world.until(&mut feed, |world| world.service_names() == names(&["web"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stops_counting_is_deleted() {
    let fake = FakeApi::start();
    fake.put_service(service("web", "10.96.0.1"));
    let (mut feed, mut world) = synced(&fake).await;
    let mut external = service("web", "");
    external["spec"] = json!({"type": "ExternalName", "externalName": "example.com"});
    fake.put_service(external);
    world.until(&mut feed, |world| world.services.objects.is_empty()).await;
    assert_eq!(world.rejections, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_streaming_lists_are_refused_plain_lists_serve() {
    let fake = FakeApi::start();
    fake.set_streaming(false);
    fake.put_service(service("web", "10.96.0.1"));
    let (mut feed, mut world) = synced(&fake).await;
    assert_eq!(world.service_names(), names(&["web"]));
    fake.put_service(service("new", "10.96.0.2"));
    world.until(&mut feed, |world| world.services.objects.len() == 2).await;
    let lists = fake.requests(Resource::Services, Verb::List);
    assert_eq!(lists.len(), 1);
    assert!(lists[0].contains("resourceVersion=0") && !lists[0].contains("limit="), "{}", lists[0]);

    fake.compact(false);
    fake.disturb(Resource::Services, Disturbance::Error(410));
    world.until(&mut feed, |world| world.services.lists == 2).await;
    let lists = fake.requests(Resource::Services, Verb::List);
    assert!(!lists[1].contains("resourceVersion=0"), "a relist must not come from a stale cache: {}", lists[1]);
    let watches = fake.requests(Resource::Services, Verb::Watch);
    let streaming = watches.iter().filter(|query| query.contains("sendInitialEvents=true")).count();
    assert_eq!(streaming, 1, "refused once, never asked again");
}

/// Deletes `shop/gone` and creates `shop/new` while the watch is down, and forgets the history.
async fn relist_after_gone(streaming: bool, as_http: bool) {
    let fake = FakeApi::start();
    fake.set_streaming(streaming);
    fake.put_service(service("web", "10.96.0.1"));
    fake.put_service(service("gone", "10.96.0.2"));
    let (mut feed, mut world) = synced(&fake).await;
    fake.fault(Resource::Services, Verb::Watch, Fault::Status(503), ALWAYS);
    fake.disturb(Resource::Services, Disturbance::Drop);
    fake.wait_watching(Resource::Services, 0);
    fake.delete(Resource::Services, "shop/gone");
    fake.put_service(service("new", "10.96.0.3"));
    fake.compact(as_http);
    fake.clear_faults();
    world.until(&mut feed, |world| world.services.lists == 2).await;
    assert_eq!(world.service_names(), names(&["web", "new"]));
    assert_eq!(world.slices.lists, 1, "the other kinds go on");
    assert!(feed.stats.restarts(ObjectKind::Service) >= 1);
    settle(&fake, &mut feed, &mut world).await;
    assert_eq!(world.services.lists, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relist_after_410_loses_what_vanished() {
    relist_after_gone(true, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relist_after_410_as_an_event_loses_what_vanished() {
    relist_after_gone(true, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_relist_after_410_loses_what_vanished() {
    relist_after_gone(false, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_lose_nothing() {
    let fake = FakeApi::start();
    fake.put_service(service("web", "10.96.0.1"));
    let (mut feed, mut world) = synced(&fake).await;
    let disturbances = [Disturbance::Drop, Disturbance::Close, Disturbance::HalfLine, Disturbance::Error(500)];
    for (n, disturbance) in disturbances.into_iter().enumerate() {
        let seen = fake.requests(Resource::Services, Verb::Watch).len();
        fake.put_service(service(&format!("before-{n}"), &format!("10.96.1.{n}")));
        fake.disturb(Resource::Services, disturbance);
        fake.put_service(service(&format!("after-{n}"), &format!("10.96.2.{n}")));
        fake.wait_requests(Resource::Services, Verb::Watch, seen + 1);
        fake.wait_watching(Resource::Services, 1);
        world.until(&mut feed, |world| world.services.objects.len() == 3 + 2 * n).await;
    }
    assert_eq!(world.services.lists, 1, "a cut watch goes on where it was");
    assert_eq!(feed.stats.restarts(ObjectKind::Service), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_and_duplicate_events_end_in_the_same_state() {
    let fake = FakeApi::start();
    let (mut feed, mut world) = synced(&fake).await;
    fake.put_service(service("gone", "10.96.0.1"));
    fake.put_service(service("web", "10.96.0.2"));
    fake.put_service(service("web", "10.96.0.3"));
    fake.delete(Resource::Services, "shop/gone");
    let done = |world: &World| world.service_names() == names(&["web"]);
    world.until(&mut feed, |world| !world.services.objects.is_empty()).await;
    world.until(&mut feed, done).await;
    let before = world.services.objects.clone();
    let mut stale = service("gone", "10.96.0.1");
    stale["metadata"]["resourceVersion"] = json!("101");
    let stale = json!({"type": "ADDED", "object": stale}).to_string();
    for disturbance in [Disturbance::Replay, Disturbance::Replay, Disturbance::Line(stale)] {
        fake.disturb(Resource::Services, disturbance);
        settle(&fake, &mut feed, &mut world).await;
    }
    assert_eq!(world.services.objects, before);
    assert_eq!(world.services.lists, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_read_means_a_new_list() {
    let fake = FakeApi::start();
    fake.put_service(service("web", "10.96.0.1"));
    let (mut feed, mut world) = synced(&fake).await;
    fake.disturb(Resource::Services, Disturbance::Line("}{ garbage".to_owned()));
    world.until(&mut feed, |world| world.services.lists == 2).await;
    settle(&fake, &mut feed, &mut world).await;
    assert_eq!(world.service_names(), names(&["web"]));
    assert_eq!(feed.stats.restarts(ObjectKind::Service), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_lists_are_tried_again() {
    let fake = FakeApi::start();
    fake.set_streaming(false);
    fake.put_service(service("web", "10.96.0.1"));
    for fault in [Fault::Status(500), Fault::Garbage, Fault::Cut, Fault::Status(403)] {
        fake.fault(Resource::Services, Verb::List, fault, 1);
    }
    let (feed, world) = synced(&fake).await;
    assert_eq!(world.service_names(), names(&["web"]));
    assert_eq!(feed.stats.restarts(ObjectKind::Service), 4);
    assert_eq!(feed.stats.restarts(ObjectKind::EndpointSlice), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streaming_list_that_breaks_off_is_never_told_by_half() {
    let fake = FakeApi::start();
    fake.put_service(service("web", "10.96.0.1"));
    fake.fault(Resource::Services, Verb::Watch, Fault::Cut, 2);
    let (feed, world) = synced(&fake).await;
    assert_eq!(world.services.lists, 1);
    assert_eq!(world.service_names(), names(&["web"]));
    assert_eq!(feed.stats.restarts(ObjectKind::Service), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn service_cidrs_we_may_not_see_are_no_gate() {
    for code in [403, 404] {
        for streaming in [true, false] {
            let fake = FakeApi::start();
            fake.set_streaming(streaming);
            fake.put_service(service("web", "10.96.0.1"));
            let verb = if streaming { Verb::Watch } else { Verb::List };
            fake.fault(Resource::ServiceCidrs, verb, Fault::Status(code), ALWAYS);
            let (_feed, world) = synced(&fake).await;
            assert_eq!((world.cidrs.lists, world.cidrs.objects.len()), (1, 0), "{code}");
            assert_eq!(world.service_names(), names(&["web"]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_object_costs_only_itself() {
    let fake = FakeApi::start();
    // Protobuf has no room for fields of a wrong type.
    fake.speak_only_json();
    fake.put_service(service("web", "10.96.0.1"));
    let mut half = service("half", "10.96.0.2");
    half["spec"]["ports"] =
        json!([{"name": "bad", "port": "http"}, {"name": "zero", "port": 0}, {"name": "good", "port": 81}]);
    fake.put_service(half);
    fake.put_service(json!({"metadata": {"namespace": "shop", "name": "broken"}, "spec": ["no", "object"]}));
    fake.put_slice(
        json!({"metadata": {"namespace": "shop", "name": "lost"}, "addressType": "IPv4", "endpoints": "none"}),
    );
    fake.put_slice(slice("web-1", "web", "fd00::1"));
    for streaming in [true, false] {
        fake.set_streaming(streaming);
        let (mut feed, mut world) = synced(&fake).await;
        assert_eq!(world.service_names(), names(&["web", "half"]));
        let half = &world.services.objects[&ObjectName::new("shop", "half")];
        assert_eq!(half.ports.iter().map(|port| port.port).collect::<Vec<_>>(), [81]);
        let said = ["shop/broken: spec", "shop/half: spec.ports[0].port", "shop/half: spec.ports[1].port"];
        assert_eq!(world.rejected(ObjectKind::Service), said);
        let said = ["shop/lost: metadata.labels[kubernetes.io/service-name]", "shop/web-1: endpoints[0].addresses[0]"];
        assert_eq!(world.rejected(ObjectKind::EndpointSlice), said);

        fake.put_service(json!({"metadata": {"namespace": "shop", "name": "late"}, "spec": {"clusterIP": 7}}));
        settle(&fake, &mut feed, &mut world).await;
        assert_eq!(world.rejected(ObjectKind::Service).last().unwrap(), "shop/late: spec.clusterIP");
        assert_eq!(feed.stats.restarts(ObjectKind::Service), 0);
        fake.delete(Resource::Services, "shop/late");
        drop(feed);
        fake.wait_watching(Resource::Services, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bookmarks_spare_a_new_list_and_their_absence_does_no_harm() {
    for bookmarks in [true, false] {
        let fake = FakeApi::start();
        fake.set_bookmarks(bookmarks);
        fake.put_service(service("web", "10.96.0.1"));
        let (mut feed, mut world) = synced(&fake).await;
        fake.put_node(json!({"metadata": {"name": "node-b"}}));
        fake.disturb(Resource::Services, Disturbance::Bookmark);
        fake.compact(true);
        fake.disturb(Resource::Services, Disturbance::Close);
        fake.wait_requests(Resource::Services, Verb::Watch, 2);
        settle(&fake, &mut feed, &mut world).await;
        assert_eq!(world.service_names(), names(&["web"]));
        assert_eq!(world.services.lists, if bookmarks { 1 } else { 2 });
    }
}
