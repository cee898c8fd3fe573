//! Rung 5: what the netlink socket may answer at any moment - no buffers, no memory, too long, begin again, an answer lost - between a
//! change and the kernel. What was in force stays in force meanwhile, and the end is what is wanted.

mod support;

use ferroproxy::agent::{Arrivals, Engine, Finding, Rules};
use ferroproxy::apply::diff;
use ferroproxy::apply::netlink::{Netlink, Trouble};
use ferroproxy::apply::target::{Live, Target};
use ferroproxy::apply::transaction::Transaction;
use ferroproxy::compile::bytes::Bytes;
use ferroproxy::model::{
    Change, Config, Event, Family, PerFamily, Protocol, Service, ServiceCidr, ServicePort, SourceConfig,
};
use ferroproxy::state::State;
use rustix::io::Errno;
use support::netns::{self, Netns};

const ERRNOS: [Errno; 6] = [Errno::NOBUFS, Errno::MSGSIZE, Errno::NOMEM, Errno::RESTART, Errno::BUSY, Errno::INTR];

fn service(n: u8) -> Event {
    let port =
        ServicePort { name: "".into(), protocol: Protocol::Tcp, port: 80, node_port: Some(30_000 + u16::from(n)) };
    Event::Service(Change::Upsert(Service {
        cluster_ips: vec![[10, 96, 0, n].into(), format!("fd00:96::{n:x}").parse().unwrap()],
        load_balancer_ips: vec![[198, 51, 100, n].into()],
        source_ranges: vec!["203.0.113.0/24".parse().unwrap(), "198.51.100.0/25".parse().unwrap()],
        ports: vec![port],
        ..Service::named("default", &format!("s{n}"))
    }))
}

struct World {
    state: State,
    engine: Engine<Netlink>,
}

impl World {
    fn start() -> World {
        let config = Config::new(SourceConfig::Manifests("unused".into()), "n");
        let engine = Engine::new(config, Family::ALL.to_vec(), Netlink::open().expect("netlink"));
        let mut world = World { state: State::new(), engine };
        let cidr = ServiceCidr { name: "kubernetes".into(), cidrs: vec!["10.96.0.0/16".parse().unwrap()] };
        world.state.apply(Event::ServiceCidr(Change::Upsert(cidr)));
        assert!(world.put(1));
        world
    }

    /// A change and its sync. Says whether everything is in force.
    fn put(&mut self, n: u8) -> bool {
        self.state.apply(service(n));
        let changes = self.state.take_changes();
        self.engine.sync(self.state.snapshot(), changes, &Arrivals::default());
        !self.engine.is_failing()
    }

    fn live(&mut self) -> Live {
        self.engine.target_mut().read_back().expect("the tables")
    }

    fn has(&mut self, n: u8) -> bool {
        let key = Bytes::new().addr([10, 96, 0, n].into()).proto(Protocol::Tcp).port(80);
        self.live().v4.expect("a table").sets["services"].elements.contains_key(&key)
    }

    /// Whatever was undone is done by the look that follows, and then the kernel holds what a fresh process would write.
    fn assert_settles(&mut self, what: &str) {
        self.engine.audit(self.state.snapshot());
        assert!(!self.engine.is_failing(), "{what}");
        assert_eq!(self.engine.look(None), Finding::Untouched, "{what}");
        let live = self.live();
        let config = Config::new(SourceConfig::Manifests("unused".into()), "n");
        let seed = ferroproxy::apply::seed(&live);
        let (mut fresh, _) = ferroproxy::agent::plan(&config, self.state.snapshot(), &Family::ALL, seed);
        ferroproxy::apply::learn(fresh.draft_mut(), &live);
        assert_eq!(diff(fresh.draft()), Transaction { families: PerFamily::default() }, "{what}");
    }
}

fn in_namespace(what: &str, test: impl FnOnce(&Netns) + Send) {
    if netns::is_possible() {
        let netns = Netns::new(what);
        netns.enter(|| test(&netns));
    }
}

#[test]
fn a_batch_that_was_not_sent_leaves_the_old_rules_and_is_made_up_for() {
    in_namespace("unsent", |_| {
        let (mut world, mut n) = (World::start(), 1);
        for errno in ERRNOS {
            for times in [1, 12] {
                let troubles = std::iter::repeat_n(Trouble::Unsent(errno.raw_os_error()), times);
                world.engine.target_mut().plan_troubles(troubles);
                n += 1;
                let done = world.put(n);
                assert!(world.has(1) && world.has(n) == done, "{errno:?} {times} times: the old rules are in force");
                assert!(!done || times == 1, "{errno:?}: {times} troubles are more than the tries of one sync");
                // What is left of the planned troubles meets the tries that follow.
                for _ in 0..12 {
                    world.engine.audit(world.state.snapshot());
                }
                world.assert_settles(&format!("{errno:?} {times} times"));
                assert!(world.has(n));
            }
        }
    });
}

#[test]
fn a_batch_whose_answer_was_lost_is_not_done_twice() {
    in_namespace("lost", |_| {
        let (mut world, mut n) = (World::start(), 1);
        for errno in ERRNOS {
            world.engine.target_mut().plan_troubles([Trouble::None, Trouble::Unanswered(errno.raw_os_error())]);
            for _ in 0..2 {
                n += 1;
                assert!(world.put(n) && world.has(n), "{errno:?}");
            }
            world.assert_settles(&format!("{errno:?}"));
        }
    });
}

#[test]
fn the_outline_of_what_is_in_force_deviates_in_nothing() {
    in_namespace("outline", |netns| {
        let mut world = World::start();
        (2..40).for_each(|n| assert!(world.put(n)));
        assert_eq!(world.engine.look(None), Finding::Untouched);
        netns.nft_load("add table inet other");
        let Finding::Unproven(generation) = world.engine.look(None) else { panic!("nothing of ours has changed") };
        assert_eq!(world.engine.look(Some(generation)), Finding::Unproven(generation));
        netns.nft_load("add rule ip6 ferroproxy KUBE-SERVICES counter");
        let found = world.engine.look(Some(generation));
        assert_eq!(found, Finding::Deviates("ip6: chain KUBE-SERVICES is another".into()));
        world.assert_settles("a foreign rule");
    });
}

#[test]
fn a_commit_of_somebody_else_between_ours_is_seen_whatever_we_commit() {
    in_namespace("between", |netns| {
        let mut world = World::start();
        netns.nft_load("delete element ip ferroproxy services { 10.96.0.1 . tcp . 80 }");
        assert!(world.put(2) && world.put(3));
        assert!(!world.has(1), "our own commits do not look at it");
        assert_ne!(world.engine.look(None), Finding::Untouched, "and do not hide it");
        world.assert_settles("an element gone");
        assert!(world.has(1));
    });
}
