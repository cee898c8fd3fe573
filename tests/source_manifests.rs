//! A directory of manifests as a source.

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use ferroproxy::model::{Change, Event, ObjectKind, ObjectName};
use ferroproxy::source::{Feed, manifests};
use support::world::World;
use tempfile::TempDir;

fn service(name: &str, ip: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec:\n  clusterIP: {ip}\n  ports:\n  - port: 80\n"
    )
}

fn dir(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(dir.path(), name, text);
    }
    dir
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).unwrap();
}

fn load(dir: &Path) -> World {
    let mut world = World::default();
    manifests::load(dir, " Node-A").unwrap().into_iter().for_each(|event| world.apply(event));
    assert!(world.synced(), "every kind is listed");
    world
}

async fn follow(dir: &Path) -> (Feed, World) {
    let (mut feed, mut world) = (manifests::stream(dir, "node-a").unwrap(), World::default());
    world.until(&mut feed, World::synced).await;
    (feed, world)
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| format!("shop/{name}")).collect()
}

const SLICE: &str = "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.1.0.1]}]
";

#[test]
fn all_kinds_are_read_from_all_forms() {
    let lists = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}},
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-b"}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/12"]}}]}"#;
    let typed = "apiVersion: v1\nkind: ServiceList\nitems:\n- metadata: {name: listed, namespace: shop}\n  spec: {clusterIP: 10.96.0.3}\n";
    let other = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n---\napiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: other}\n";
    let headless = service("headless", "None");
    let dir = dir(&[
        ("a.yaml", &format!("{}---\n{}", service("web", "10.96.0.1"), SLICE)),
        ("b.yml", typed),
        ("c.JSON", lists),
        ("d.yaml", &format!("{other}---\n{headless}")),
        (".hidden.yaml", &service("hidden", "10.96.0.8")),
        ("readme.txt", "no manifest"),
    ]);
    std::fs::create_dir(dir.path().join("folder.yaml")).unwrap();
    let world = load(dir.path());
    assert_eq!(world.rejections, []);
    assert_eq!(world.service_names(), names(&["web", "listed"]));
    assert_eq!(world.slices.objects.len(), 1);
    assert_eq!(world.nodes.objects.keys().collect::<Vec<_>>(), ["node-a"]);
    assert_eq!(world.cidrs.objects.len(), 1);
}

#[test]
fn a_list_is_told_in_the_order_of_the_files() {
    let two = format!("{}---\n{}", service("z", "10.96.0.1"), service("a", "10.96.0.2"));
    let dir = dir(&[("2.yaml", &service("first", "10.96.0.3")), ("1.yaml", &two)]);
    let events = manifests::load(dir.path(), "node-a").unwrap();
    let told = events.into_iter().filter_map(|event| match event {
        Event::Service(Change::Upsert(service)) => Some(service.name.name.to_string()),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), ["z", "a", "first"]);
}

#[test]
fn a_broken_document_costs_only_itself_and_is_named() {
    let text = format!("{}---\nkind: [Service\n---\n{}", service("web", "10.96.0.1"), service("more", "10.96.0.2"));
    let no_kind = "apiVersion: v1\nmetadata: {name: x}\n";
    let list = "apiVersion: v1\nkind: List\nitems:\n- {kind: Service}\n- just text\n";
    let dir = dir(&[("a.yaml", &text), ("b.yaml", no_kind), ("c.yaml", list), ("d.json", "{\"kind\":")]);
    write(dir.path(), "e.yaml", &service("last", "10.96.0.3"));
    std::fs::write(dir.path().join("f.yaml"), [0xff, 0xfe, b'a']).unwrap();
    let world = load(dir.path());
    assert_eq!(world.service_names(), names(&["web", "more", "last"]));
    let said = world.rejected(ObjectKind::Manifest);
    let (line, rest) = said.split_first().unwrap();
    assert!(line.starts_with("a.yaml (document 2): line "), "{line}");
    let line: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((8..=10).contains(&line), "counted in the file, not in the document: {line}");
    let wanted = [
        "b.yaml (document 1): kind",
        "c.yaml (document 1): items[0].apiVersion",
        "c.yaml (document 1): items[1].apiVersion",
    ];
    assert_eq!(rest[..3], wanted);
    assert_eq!(rest[3..], ["d.json (document 1): line 1", "f.yaml: document"]);
}

#[test]
fn a_bad_field_costs_only_itself_and_is_named() {
    let bad = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 0}, {port: 81}]}\n";
    let unallocated = "apiVersion: v1\nkind: Service\nmetadata: {name: none}\nspec: {ports: [{port: 80}]}\n";
    let dir = dir(&[("a.yaml", &format!("{bad}---\n{unallocated}"))]);
    let world = load(dir.path());
    assert_eq!(world.service_names(), names(&["web"]));
    assert_eq!(world.rejected(ObjectKind::Service), ["default/none: spec.clusterIP", "shop/web: spec.ports[0].port"]);
}

#[test]
fn of_two_objects_with_one_name_the_first_file_wins() {
    let dir = dir(&[("a.yaml", &service("web", "10.96.0.1")), ("b.yaml", &service("web", "10.96.0.2"))]);
    let world = load(dir.path());
    assert_eq!(world.services.objects.values().next().unwrap().cluster_ips[0].to_string(), "10.96.0.1");
    assert_eq!(world.rejected(ObjectKind::Service), ["shop/web: metadata.name"]);
    let reason = &world.rejections[0].reason;
    assert!(reason.contains("a.yaml (document 1)") && reason.contains("b.yaml (document 1)"), "{reason}");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let error = manifests::load(Path::new("/nowhere/manifests"), "node-a").unwrap_err().to_string();
    assert!(error.contains("/nowhere/manifests") && error.contains("No such file"), "{error}");
}

#[tokio::test]
async fn only_differences_are_told() {
    let dir = dir(&[("a.yaml", &service("web", "10.96.0.1")), ("b.yaml", &service("same", "10.96.0.2"))]);
    let (mut feed, mut world) = follow(dir.path()).await;
    write(dir.path(), "c.yaml", &service("new", "10.96.0.3"));
    let batch = feed.events.recv().await.unwrap();
    assert_eq!(batch.len(), 1, "{batch:?}");
    batch.into_iter().for_each(|event| world.apply(event));
    assert_eq!(world.service_names(), names(&["web", "same", "new"]));

    write(dir.path(), ".a.yaml.swp", &service("web", "10.96.0.9"));
    std::fs::rename(dir.path().join(".a.yaml.swp"), dir.path().join("a.yaml")).unwrap();
    let batch = feed.events.recv().await.unwrap();
    assert_eq!(batch.len(), 1, "{batch:?}");
    batch.into_iter().for_each(|event| world.apply(event));
    let web = &world.services.objects[&ObjectName::new("shop", "web")];
    assert_eq!(web.cluster_ips[0].to_string(), "10.96.0.9");

    std::fs::remove_file(dir.path().join("b.yaml")).unwrap();
    world.until(&mut feed, |world| world.service_names() == names(&["web", "new"])).await;
    assert_eq!(world.services.lists, 1);
}

#[tokio::test]
async fn a_file_that_breaks_keeps_what_it_gave() {
    let two = |ip| format!("{}---\n{}", service("one", "10.96.0.1"), service("two", ip));
    let dir = dir(&[("a.yaml", &two("10.96.0.2"))]);
    let (mut feed, mut world) = follow(dir.path()).await;
    let broken = format!("{}---\nkind: [Service\n", service("one", "10.96.0.7"));
    write(dir.path(), "a.yaml", &broken);
    world.until(&mut feed, |world| !world.rejections.is_empty()).await;
    assert_eq!(world.service_names(), names(&["one", "two"]));
    let one = &world.services.objects[&ObjectName::new("shop", "one")];
    assert_eq!(one.cluster_ips[0].to_string(), "10.96.0.7", "the good document counts");

    write(dir.path(), "a.yaml", "kind: {\n");
    world.until(&mut feed, |world| world.rejections.len() == 2).await;
    assert_eq!(world.service_names(), names(&["one", "two"]), "broken twice is still broken");

    write(dir.path(), "a.yaml", &service("one", "10.96.0.1"));
    world.until(&mut feed, |world| world.service_names() == names(&["one"])).await;
    write(dir.path(), "a.yaml", "kind: {\n");
    world.until(&mut feed, |world| world.rejections.len() == 3).await;
    std::fs::remove_file(dir.path().join("a.yaml")).unwrap();
    world.until(&mut feed, |world| world.services.objects.is_empty()).await;
}

#[tokio::test]
async fn a_config_map_swap_is_seen() {
    let dir = dir(&[]);
    let at = |name: &str| dir.path().join(name);
    for (version, ip) in [("..v1", "10.96.0.1"), ("..v2", "10.96.0.2")] {
        std::fs::create_dir(at(version)).unwrap();
        write(&at(version), "a.yaml", &service("web", ip));
    }
    std::os::unix::fs::symlink("..v1", at("..data")).unwrap();
    std::os::unix::fs::symlink("..data/a.yaml", at("a.yaml")).unwrap();
    let (mut feed, mut world) = follow(dir.path()).await;
    assert_eq!(world.service_names(), names(&["web"]));
    std::os::unix::fs::symlink("..v2", at("..tmp")).unwrap();
    std::fs::rename(at("..tmp"), at("..data")).unwrap();
    let swapped = |world: &World| world.services.objects.values().any(|s| s.cluster_ips[0].to_string() == "10.96.0.2");
    world.until(&mut feed, swapped).await;
}

#[tokio::test]
async fn a_directory_may_vanish_and_come_back() {
    let parent = dir(&[]);
    let dir = parent.path().join("manifests");
    std::fs::create_dir(&dir).unwrap();
    write(&dir, "a.yaml", &service("web", "10.96.0.1"));
    let (mut feed, mut world) = follow(&dir).await;
    for round in 1..3 {
        let failures = feed.stats.restarts(ObjectKind::Manifest);
        std::fs::rename(&dir, parent.path().join(format!("old-{round}"))).unwrap();
        while feed.stats.restarts(ObjectKind::Manifest) == failures {
            tokio::time::timeout(std::time::Duration::from_millis(10), feed.events.recv())
                .await
                .expect_err("nothing is told");
        }
        std::fs::create_dir(&dir).unwrap();
        let name = format!("new-{round}");
        write(&dir, "a.yaml", &service(&name, "10.96.0.1"));
        world.until(&mut feed, |world| world.service_names() == names(&[&name])).await;
        write(&dir, "b.yaml", &service("later", "10.96.0.2"));
        world.until(&mut feed, |world| world.service_names() == names(&[&name, "later"])).await;
    }
}
