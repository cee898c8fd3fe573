//! `ferroproxy explain`: what becomes of a packet, and why. Walks the rules; changes nothing.

mod candidates;
mod frontend;
mod masquerade;
pub(in crate::cli) mod question;
mod rules;
mod story;
mod tell;
mod text;
mod walk;

use super::args::{ExplainArgs, Output};
use super::gather::{gather, reject, say};
use super::planned::Planned;
use super::{DIFFERENT, OK};
use crate::model::{Config, Event};
use crate::source::addresses;
use story::{Story, Verdict};
use tell::Known;

/// Prints the story of a packet on stdout.
pub(super) fn explain(config: &Config, args: &ExplainArgs) -> anyhow::Result<u8> {
    let mut state = gather(config)?;
    if args.live {
        state.apply(Event::LocalAddresses(addresses::local()?));
    }
    let story = story_of(config, state.snapshot(), args)?;
    match args.output {
        Output::Text => say(&text::text(&story))?,
        Output::Json => say(&format!("{}\n", serde_json::to_string_pretty(&story)?))?,
    }
    Ok(match story.verdict {
        Verdict::Delivered | Verdict::LeftAlone => OK,
        Verdict::Dropped | Verdict::Refused => DIFFERENT,
    })
}

fn story_of(config: &Config, snapshot: &crate::state::Snapshot, args: &ExplainArgs) -> anyhow::Result<Story> {
    let packet = question::packet(config, snapshot, args.from, args.to)?;
    let (planned, rejections) = Planned::new(config, snapshot);
    rejections.iter().for_each(reject);
    let rules = match args.live {
        true => rules::live(config.mode, packet.family())?,
        false => planned.rules(packet.family()),
    };
    let around = question::around(config, snapshot);
    let walks = walk::walks(&rules, &packet, &around)?;
    let known = Known { config, snapshot, planned: &planned, around: &around };
    Ok(tell::tell(&known, args.from, &packet, &walks))
}
