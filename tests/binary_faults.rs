//! Rung 6: what happens to processes. Services keep working on the last good rules, and the end is what is wanted.

mod support;

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use support::daemon::{Daemon, ferroproxy, namespace, write};
use support::fake_api::{Disturbance, FakeApi, Fault, Resource, Verb};
use support::lab::{PATIENCE, Place};
use support::netns;
use support::scene::{PORTS, Scene, service, slices};
use tempfile::TempDir;

const PODS: usize = 3;
const CLIENT: Place = Place::Pod(2);
const FRONT: &str = "10.96.0.1:80";
const PACE: Duration = Duration::from_millis(2);

fn scene() -> Option<Scene> {
    let web = [("web", service(1, PORTS)), ("slices", slices(1, &[0, 1]))];
    netns::is_possible().then(|| Scene::new(PODS, &web))
}

/// Numbers that look random, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn killed_at_any_point_of_many_changes_it_comes_back_to_the_right_rules() {
    let Some(mut scene) = scene() else { return };
    let asking = scene.lab.keep_asking(CLIENT, FRONT, PACE, PATIENCE).expect("a client");
    let mut dice = Dice(0x5eed);
    for round in 0..6u8 {
        for change in 0..1 + dice.below(6) as u8 {
            let (number, pods) = (10 + round * 8 + change, [&[0][..], &[0, 1], &[1]][dice.below(3) as usize]);
            scene.write(&format!("web-{number}"), &service(number, PORTS));
            scene.write(&format!("slices-{number}"), &slices(number, pods));
            std::thread::sleep(Duration::from_millis(dice.below(30)));
        }
        // Dropping it is SIGKILL.
        drop(scene.proxy.take());
        asking.wait_for_more(10, PATIENCE).expect("connections without a process");
        scene.start();
    }
    scene.settle();
    let tally = asking.stop().expect("a tally");
    assert_eq!(tally.failed(), 0, "{tally}");
}

#[test]
fn a_process_that_stands_still_loses_no_connection_and_catches_up() {
    let Some(scene) = scene() else { return };
    let id = scene.proxy.as_ref().expect("a proxy").id();
    let signal = |signal| {
        let pid = rustix::process::Pid::from_raw(id.try_into().expect("a pid")).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("it runs");
    };
    let asking = scene.lab.keep_asking(CLIENT, FRONT, PACE, PATIENCE).expect("a client");
    signal(rustix::process::Signal::STOP);
    scene.write("other", &service(2, PORTS));
    scene.write("slices", &slices(1, &[1]));
    scene.lab.nft("flush chain ip6 ferroproxy nat-output").expect("broken");
    asking.wait_for_more(1000, Duration::from_secs(60)).expect("connections while it stands still");
    assert_eq!(scene.diff().0, Some(1));
    signal(rustix::process::Signal::CONT);
    scene.settle();
    let tally = asking.stop().expect("a tally");
    assert_eq!(tally.failed(), 0, "{tally}");
}

fn api_service(name: &str, ip: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
    })
}

const RESOURCES: [Resource; 4] = [Resource::Services, Resource::Slices, Resource::Nodes, Resource::ServiceCidrs];

#[test]
fn an_api_server_that_goes_and_comes_back_with_other_contents_is_followed() {
    if !netns::is_possible() {
        return;
    }
    let (netns, dir) = (namespace("gone"), TempDir::new().unwrap());
    let fake = netns.enter(FakeApi::start);
    fake.put_node(json!({
        "metadata": {"name": "node-a"},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}]},
    }));
    for n in 1..=3 {
        fake.put_service(api_service(&format!("s{n}"), &format!("10.96.0.{n}")));
    }
    let kubeconfig = fake.write_kubeconfig(dir.path()).to_string_lossy().into_owned();
    let args = ["--kubeconfig", &kubeconfig, "--hostname-override", "node-a"];
    let daemon = Daemon::start(&netns, &[&["run"], &args[..]].concat());
    daemon.wait_ready();
    let before = netns.nft_list();
    for resource in RESOURCES {
        for verb in [Verb::List, Verb::Watch] {
            fake.fault(resource, verb, Fault::Cut, usize::MAX);
        }
        fake.disturb(resource, Disturbance::Drop);
    }
    let tried = fake.requests(Resource::Services, Verb::Watch).len();
    fake.wait_requests(Resource::Services, Verb::Watch, tried + 3);
    // Deleted while nobody watched, and no event will ever tell.
    fake.delete(Resource::Services, "shop/s1");
    fake.put_service(api_service("s2", "10.96.0.22"));
    fake.put_service(api_service("s4", "10.96.0.4"));
    fake.compact(true);
    assert_eq!(netns.nft_list(), before, "the last good rules stay");
    assert_eq!(daemon.get(10256, "/livez").0, 200, "a restart would not bring the API server back");
    // A node that has changed nothing stops nothing: its rules are repaired while the API server is away.
    netns.nft_load("flush ruleset");
    daemon.wait_for("the repair", || netns.nft_list() == before);
    fake.clear_faults();
    daemon.wait_for("the new contents", || ferroproxy(&netns, &[&["diff"], &args[..]].concat()).code == Some(0));
    let rules = netns.nft_list();
    assert!(rules.contains("10.96.0.22 ") && rules.contains("10.96.0.4 ") && rules.contains("10.96.0.3 "), "{rules}");
    assert!(!rules.contains("10.96.0.1 ") && !rules.contains("10.96.0.2 "), "{rules}");
}

const WEB: &str =
    "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n";

/// A directory of manifests with one service, and how the daemon is started on it.
fn manifests() -> (TempDir, Vec<String>) {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "web.yaml", WEB);
    let path = dir.path().to_string_lossy().into_owned();
    (dir, ["run", "--manifests", &path, "--hostname-override", "n", "-v=5"].map(str::to_owned).to_vec())
}

/// Many changes, each of which is logged at length, take effect although nobody can read of them.
fn assert_follows(netns: &netns::Netns, daemon: &Daemon<'_>, dir: &Path) {
    daemon.wait_ready();
    for round in 1..=40u32 {
        for n in 2..=21u32 {
            let name = format!("web-{n}");
            let text = WEB.replace("name: web", &format!("name: {name}"));
            fs::write(dir.join(format!("{name}.yaml")), text.replace("10.96.0.1", &format!("10.96.{round}.{n}")))
                .unwrap();
        }
        daemon.wait_for("the change", || netns.nft_list().contains(&format!("10.96.{round}.21 ")));
    }
    assert_eq!(daemon.get(10256, "/healthz").0, 200);
}

#[test]
fn a_full_disk_under_the_log_holds_nothing_back() {
    if !netns::is_possible() {
        return;
    }
    let (netns, (dir, args)) = (namespace("full"), manifests());
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let daemon = Daemon::start_with_stderr(&netns, &args, full.into());
    assert_follows(&netns, &daemon, dir.path());
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn a_pipe_under_the_log_that_nobody_empties_holds_nothing_back() {
    if !netns::is_possible() {
        return;
    }
    let (netns, (dir, args)) = (namespace("pipe"), manifests());
    let (mut reader, writer) = std::io::pipe().unwrap();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let daemon = Daemon::start_with_stderr(&netns, &args, Stdio::from(writer));
    assert_follows(&netns, &daemon, dir.path());
    let mut some = [0; 4096];
    assert!(reader.read(&mut some).unwrap() > 0, "it does log");
    assert_eq!(daemon.stop().code(), Some(0));
}
