//! Rung 5: what we print and what we commit are the same. Every story of `rules-golden/` is loaded by nft in one namespace and committed over
//! netlink in another; both are read back and must be equal, and neither has anything left to change.

#[path = "support/story.rs"]
mod story;
mod support;

use std::fs;
use std::path::Path;

use ferroproxy::apply::netlink::Netlink;
use ferroproxy::apply::target::{Live, Outcome, Target};
use ferroproxy::apply::{compare, diff};
use ferroproxy::compile::expr::{Expr, Reg};
use ferroproxy::model::Family;
use story::Story;
use support::netns::{self, Netns};

fn committed(story: &Story) -> Live {
    let netns = Netns::new("golden");
    netns.enter(|| {
        let mut kernel = Netlink::open().expect("netlink");
        let receipt = kernel.commit(&diff(story.compile().draft()));
        assert!(receipt.families.iter().all(|(_, outcome)| *outcome == Outcome::Done), "{receipt:?}");
        kernel.read_back().expect("read back")
    })
}

fn loaded(text: &str) -> Live {
    let netns = Netns::new("golden");
    netns.nft_load(text);
    // What nft prints of it must load again, and mean the same.
    netns.nft_load(&format!("flush ruleset\n{}", netns.nft_list()));
    netns.enter(|| Netlink::open().expect("netlink").read_back().expect("read back"))
}

/// nft 1.0.6 loads what a rule learns into the register that ends the key, when the key has an IPv6 address and more: decision 0009.
/// But for that register the rules must be equal.
fn but_for_nfts_register(mut live: Live) -> Live {
    let chains = live.v6.iter_mut().flat_map(|table| table.chains.values_mut());
    for rule in chains.flat_map(|chain| &mut chain.rules).flatten() {
        for at in 1..rule.len() {
            let (before, rest) = rule.split_at_mut(at);
            if let (Some(Expr::Meta { dreg, .. }), Expr::Dynset { data, .. }) = (before.last_mut(), &mut rest[0]) {
                assert_eq!(dreg, data);
                (*dreg, *data) = (Reg(15), Reg(15));
            }
        }
    }
    live
}

#[test]
fn every_story_is_committed_as_it_is_printed() {
    if !netns::is_possible() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules-golden");
    for dir in fs::read_dir(root).expect("stories").map(|entry| entry.expect("a story").path()) {
        let story = Story::read(&dir);
        let committed = committed(&story);
        let text = fs::read_to_string(dir.join("expected.nft")).expect("a golden");
        let (ours, nfts) = (committed.clone(), loaded(&text));
        assert_eq!(but_for_nfts_register(ours), but_for_nfts_register(nfts), "{}", dir.display());
        for family in Family::ALL {
            let compiler = story.compile();
            let wanted = compiler.draft().ruleset().get(family).as_ref().expect("a table");
            let pending = compare(family, wanted, committed.get(family).as_ref());
            assert_eq!(pending, Default::default(), "{}", dir.display());
        }
    }
}
