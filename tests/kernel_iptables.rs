//! Rung 5: the classical chains in a real kernel, by both variants of iptables that stand on a node.

#[path = "support/story.rs"]
mod story;
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use ferroproxy::agent::{Arrivals, Finding, IptablesEngine, Rules};
use ferroproxy::apply::iptables::{IptablesKernel, RestoreTarget, Variant};
use ferroproxy::compile::iptables::{Table, removal};
use ferroproxy::model::{Family, FamilyOutcome, PerFamily, ProxyMode};
use ferroproxy::state::Changes;
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
