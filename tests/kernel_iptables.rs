//! Rung 5: the classical chains in a real kernel, by both variants of iptables that stand on a node.

#[path = "../benches/support/cluster.rs"]
#[allow(dead_code, unreachable_pub, reason = "the benches use more of it")]
mod cluster;
#[path = "support/story.rs"]
mod story;
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use cluster::{Cluster, Kind};
use ferroproxy::agent::{Arrivals, Finding, IptablesEngine, Rules};
use ferroproxy::apply::iptables::{IptablesKernel, RestoreTarget, Variant};
use ferroproxy::compile::iptables::{Table, names, removal};
use ferroproxy::model::{
    Change, Config, Event, Family, FamilyOutcome, PerFamily, ProxyMode, SourceConfig, SyncKind, SyncReport,
};
use ferroproxy::state::{Changes, State};
use story::Story;
use support::netns::{self, Netns};

/// Both variants. One that is not installed, or that this kernel has not got, is said loudly; where `CI` is set it is an error.
fn variants() -> Vec<Variant> {
    let works = |variant: &Variant| {
        let tried = Netns::new("variant").enter(|| IptablesKernel::new(*variant).save(Family::V4));
        if let Err(error) = &tried {
            eprintln!("\n*** NOT RUN with iptables-{}: {error} ***\n", variant.name());
            assert!(std::env::var_os("CI").is_none(), "both variants must work where CI is set: {error}");
        }
        tried.is_ok()
    };
    Variant::ALL.into_iter().filter(works).collect()
}

fn stories() -> Vec<Story> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules-golden");
    let dirs = std::fs::read_dir(root).expect("stories").map(|entry| entry.expect("a story").path());
    dirs.map(|dir| Story::read_as(&dir, Some(ProxyMode::Iptables))).collect()
}

fn engine(story: &Story, variant: Variant) -> IptablesEngine<IptablesKernel> {
    IptablesEngine::new(story.config.clone(), Family::ALL.to_vec(), IptablesKernel::new(variant))
}

fn committed(engine: &mut IptablesEngine<IptablesKernel>, story: &Story) -> PerFamily<FamilyOutcome> {
    engine.sync(story.state.snapshot(), Changes::default(), &Arrivals::default()).families
}

const COMMITTED: PerFamily<FamilyOutcome> = PerFamily { v4: FamilyOutcome::Committed, v6: FamilyOutcome::Committed };
const UNCHANGED: PerFamily<FamilyOutcome> = PerFamily { v4: FamilyOutcome::Unchanged, v6: FamilyOutcome::Unchanged };

#[test]
fn every_story_is_restored_and_read_back_as_it_was_written() {
    if !netns::is_possible() {
        return;
    }
    for variant in variants() {
        for story in stories() {
            Netns::new("story").enter(|| {
                assert_eq!(committed(&mut engine(&story, variant), &story), COMMITTED);
                // A second process finds nothing to do.
                assert_eq!(committed(&mut engine(&story, variant), &story), UNCHANGED);
            });
        }
    }
}

#[test]
fn one_story_turns_into_the_next_in_place() {
    if !netns::is_possible() {
        return;
    }
    for variant in variants() {
        Netns::new("turn").enter(|| {
            for story in stories() {
                let families = committed(&mut engine(&story, variant), &story);
                assert!(families.iter().all(|(_, outcome)| outcome.is_ok()), "{families:?}");
                assert_eq!(committed(&mut engine(&story, variant), &story), UNCHANGED);
            }
        });
    }
}

#[test]
fn a_flush_is_seen_and_repaired_and_the_chains_of_others_stay() {
    if !netns::is_possible() {
        return;
    }
    let story = stories().remove(0);
    for variant in variants() {
        let netns = Netns::new("flush");
        let run = |args: &[&str]| netns.command(&format!("iptables-{}", variant.name())).args(args).output().unwrap();
        let mut engine = netns.enter(|| {
            let mut engine = engine(&story, variant);
            assert_eq!(committed(&mut engine, &story), COMMITTED);
            assert_eq!(engine.look(None), Finding::Untouched);
            engine
        });
        assert!(run(&["-t", "nat", "-N", "THEIRS"]).status.success());
        assert!(run(&["-t", "mangle", "-X"]).status.success());
        assert!(run(&["-t", "nat", "-F", "PREROUTING"]).status.success());
        netns.enter(|| {
            let end = Instant::now() + Duration::from_secs(10);
            while !matches!(engine.look(None), Finding::Deviates(_)) {
                assert!(Instant::now() < end, "{variant:?}: nobody sees it");
                std::thread::sleep(Duration::from_millis(20));
            }
            assert_eq!(engine.repair().families.v4, FamilyOutcome::Committed);
            assert_eq!(engine.repair().families, UNCHANGED);
            assert_eq!(engine.look(None), Finding::Untouched);
            let stands = IptablesKernel::new(variant).save(Family::V4).expect("read");
            assert!(stands[&Table::Nat].contains_key("THEIRS"));
        });
    }
}

#[test]
fn what_is_ours_can_be_removed_and_nothing_else() {
    if !netns::is_possible() {
        return;
    }
    let story = stories().remove(0);
    for variant in variants() {
        Netns::new("removal").enter(|| {
            let mut kernel = IptablesKernel::new(variant);
            let before = kernel.save(Family::V4).expect("read");
            assert_eq!(committed(&mut engine(&story, variant), &story), COMMITTED);
            for told in removal(&kernel.save(Family::V4).expect("read")) {
                kernel.restore(Family::V4, &told).expect("removed");
            }
            let after = kernel.save(Family::V4).expect("read");
            let ours = |stands: &ferroproxy::compile::iptables::Existing| -> Vec<String> {
                stands.values().flat_map(|chains| chains.keys()).map(ToString::to_string).collect()
            };
            let left: Vec<String> = ours(&after).into_iter().filter(|chain| !ours(&before).contains(chain)).collect();
            assert!(left.iter().all(|chain| chain == "KUBE-FIREWALL" || !chain.starts_with("KUBE")), "{left:?}");
        });
    }
}

/// A cluster, and an engine that brings it into force; after each step a second one finds nothing to do.
struct Large {
    config: Config,
    variant: Variant,
    state: State,
    engine: IptablesEngine<IptablesKernel>,
}

impl Large {
    fn new(variant: Variant) -> Large {
        let source = SourceConfig::Manifests("/m".into());
        let config = Config { mode: ProxyMode::Iptables, ..Config::new(source, cluster::NODE) };
        let engine = Large::engine(&config, variant);
        Large { config, variant, state: State::new(), engine }
    }

    fn engine(config: &Config, variant: Variant) -> IptablesEngine<IptablesKernel> {
        IptablesEngine::new(config.clone(), vec![Family::V4], IptablesKernel::new(variant))
    }

    fn tell(&mut self, events: Vec<Event>) -> SyncReport {
        events.into_iter().for_each(|event| self.state.apply(event));
        let changes = self.state.take_changes();
        let report = self.engine.sync(self.state.snapshot(), changes, &Arrivals::default());
        assert_eq!(report.families.v4, FamilyOutcome::Committed);
        let mut second = Large::engine(&self.config, self.variant);
        let again = second.sync(self.state.snapshot(), Changes::default(), &Arrivals::default());
        assert_eq!(
            again.families.v4,
            FamilyOutcome::Unchanged,
            "{:?}",
            second.compiler().map(|c| c.restore().to_string())
        );
        report
    }
}

/// More than the program for nf_tables is told at once.
#[test]
fn what_is_large_is_restored_and_read_back_as_it_was_written() {
    if !netns::is_possible() {
        return;
    }
    for variant in variants() {
        Netns::new("large").enter(|| {
            let (mut cluster, mut large) = (Cluster::new(150, 10), Large::new(variant));
            assert_eq!(large.tell(cluster.list()).operations, 150 * 31 + 20);
            let changed = large.tell(cluster.replace_endpoint(1));
            assert_eq!(changed.operations, 2 + 10 + 1, "the new endpoint, the one that picks, and the old one goes");
            let all = cluster.list().into_iter().filter_map(|event| match event {
                Event::Service(Change::Upsert(service)) => Some(Event::Service(Change::Delete(service.name))),
                _ => None,
            });
            large.tell(all.collect());
            let left = IptablesKernel::new(variant).save(Family::V4).expect("read");
            assert!(left[&Table::Nat].keys().all(|name| !names::is_of_a_service(name.as_str())));
        });
    }
}

#[test]
fn among_many_services_only_the_lines_of_one_come_and_go() {
    if !netns::is_possible() {
        return;
    }
    for variant in variants() {
        Netns::new("lines").enter(|| {
            let (mut cluster, mut large) = (Cluster::of(Kind::LocalBalancer, 120, 2), Large::new(variant));
            large.tell(cluster.list());
            let slices: Vec<Event> =
                cluster.list().into_iter().filter(|event| matches!(event, Event::Slice(Change::Upsert(_)))).collect();
            let gone = |event: &Event| match event {
                Event::Slice(Change::Upsert(slice)) => vec![Event::Slice(Change::Delete(slice.name.clone()))],
                _ => Vec::new(),
            };
            // Half of them lose their endpoints: the chains of `filter` are long as well.
            large.tell(slices[60..].iter().flat_map(gone).collect());
            let few = [
                large.tell(cluster.add_or_delete(0)),
                large.tell(gone(&slices[0])),
                large.tell(vec![slices[0].clone()]),
                large.tell(vec![slices[80].clone()]),
                large.tell(gone(&slices[80])),
                large.tell(cluster.add_or_delete(1)),
            ];
            let operations: Vec<usize> = few.iter().map(|report| report.operations).collect();
            assert!(operations.iter().all(|operations| *operations < 30), "{operations:?}");
            assert!(few.iter().all(|report| report.kind == SyncKind::Partial), "nothing was refused");
        });
    }
}
