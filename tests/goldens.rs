//! Rung 2: YAML in, nft text and iptables-restore text out. Each directory of `rules-golden/` is a story whose name is a sentence.
//!
//! `UPDATE_GOLDEN=1 cargo test --test goldens` writes what is printed now; read the difference before you commit it.

#[path = "support/story.rs"]
mod story;

use std::fs;
use std::path::PathBuf;

use ferroproxy::compile::print;
use ferroproxy::model::ProxyMode;
use story::Story;

fn stories() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("rules-golden");
    let mut dirs: Vec<PathBuf> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    dirs.sort();
    dirs
}

#[test]
fn every_story_prints_what_it_says() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    let dirs = stories();
    assert!(dirs.len() > 20, "the stories are gone");
    for dir in dirs {
        let nft = print::ruleset(Story::read(&dir).compile().draft().ruleset());
        let iptables = Story::read_as(&dir, Some(ProxyMode::Iptables)).render_iptables();
        for (file, printed) in [("expected.nft", nft), ("expected.iptables", iptables)] {
            let file = dir.join(file);
            if update {
                fs::write(&file, &printed).unwrap();
            }
            let expected = fs::read_to_string(&file).unwrap_or_default();
            if expected != printed {
                let diff = similar::TextDiff::from_lines(&expected, &printed).unified_diff().to_string();
                wrong.push(format!("{}\n{diff}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} stories differ (UPDATE_GOLDEN=1 rewrites them)\n{}", wrong.len(), wrong.join("\n"));
}
