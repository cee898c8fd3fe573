use std::time::Duration;

use super::*;
use crate::apply::memory::Memory;
use crate::model::{Change, LocalDetector, Node, ObjectName, ServiceCidr, SourceConfig};

const NODE: &str = "node-a";

fn agent(config: Config, once: bool) -> Agent<Engine<Memory>> {
    let observer = Observer::new(config.sync_period).unwrap();
    let engine = Engine::new(config.clone(), Family::ALL.to_vec(), Memory::default());
    Agent::new(config, Family::ALL.to_vec(), engine, observer, once)
}

fn config() -> Config {
    Config::new(SourceConfig::Manifests("unused".into()), NODE)
}

fn tell(agent: &mut Agent<Engine<Memory>>, events: Vec<Event>) {
    let (_, mut nothing_more) = tokio::sync::mpsc::unbounded_channel();
    agent.take_in(events, &mut nothing_more);
}

fn lists() -> Vec<Event> {
    vec![
        Event::Service(Change::Init),
        Event::Service(Change::Synced),
        Event::Slice(Change::Init),
        Event::Slice(Change::Synced),
    ]
}

fn node() -> Node {
    let (internal_ips, pod_cidrs) = (vec![[192, 0, 2, 1].into()], vec!["10.244.1.0/24".parse().unwrap()]);
    Node { name: NODE.into(), internal_ips, pod_cidrs, ..Node::default() }
}

#[test]
fn nothing_but_an_event_wakes_an_agent_that_knows_too_little() {
    let mut agent = agent(Config { sync_period: Duration::ZERO, ..config() }, false);
    assert!(agent.turn().is_none());
    assert_eq!(agent.wake(), None, "an audit that is due and cannot be done would wake it again and again");
    tell(&mut agent, lists());
    tell(&mut agent, vec![Event::Node(Change::Synced)]);
    agent.turn();
    assert!(agent.wake().is_some());
}

#[test]
fn a_node_that_goes_holds_nothing_back() {
    let mut agent = agent(Config { detector: LocalDetector::NodeCidr, ..config() }, false);
    tell(&mut agent, lists());
    tell(&mut agent, vec![Event::Node(Change::Upsert(node())), Event::Node(Change::Synced)]);
    agent.turn();
    let before = agent.engine.target().live.clone();
    assert!(before.v4.is_some());
    tell(&mut agent, vec![Event::Node(Change::Delete(NODE.into()))]);
    agent.turn();
    assert_eq!(agent.engine.target().live, before, "the rules go by the Node as it was last");
    tell(&mut agent, vec![Event::Service(Change::Upsert(service()))]);
    agent.turn();
    assert_ne!(agent.engine.target().live, before, "and changes are carried on");
    assert!(!agent.observer.healthz(Moment::now()).is_ok(), "but it gets no traffic any more");
}

fn service() -> crate::model::Service {
    let port =
        crate::model::ServicePort { name: "".into(), protocol: crate::model::Protocol::Tcp, port: 80, node_port: None };
    crate::model::Service {
        name: ObjectName::new("default", "web"),
        cluster_ips: vec![[10, 96, 0, 10].into()],
        ports: vec![port],
        ..crate::model::Service::named("default", "web")
    }
}

#[test]
fn a_single_run_waits_for_the_service_cidrs() {
    let mut agent = agent(config(), true);
    tell(&mut agent, lists());
    tell(&mut agent, vec![Event::Node(Change::Synced)]);
    assert_eq!(agent.turn(), None, "addresses of no service would go unanswered for ever");
    let cidr = ServiceCidr { name: "kubernetes".into(), cidrs: vec!["10.96.0.0/16".parse().unwrap()] };
    let told = [Change::Init, Change::Upsert(cidr), Change::Synced].map(Event::ServiceCidr);
    tell(&mut agent, told.to_vec());
    assert_eq!(agent.turn(), Some(Ending::Synced));
}
