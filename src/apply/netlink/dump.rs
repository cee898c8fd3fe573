//! Reading our tables back.

use std::collections::BTreeMap;

use super::attr::{Writer, attrs, by_kind, u32_of};
use super::element::{self, LIST_ELEMENTS, LIST_SET};
use super::message::{DUMP, DUMP_INTERRUPTED, Head, Kind, TABLE_ATTR, family_number, is_ours, message};
use super::socket::{Failure, Refusal, Socket, trouble};
use super::table::{self, Wanted};
use super::{chain, errno, set};
use crate::apply::target::{CommitError, Counted, Live, LiveChain, LiveSet, LiveTable, Remedy};
use crate::compile::elements::Elements;
use crate::compile::ruleset::{Field, Name, SetDef, TABLE};
use crate::model::{Family, PerFamily};

/// How often a dump is taken anew because somebody else changed the ruleset meanwhile.
const ATTEMPTS: usize = 20;

/// How often all dumps are taken anew when the generation moved between them. Other agents move it all the time, and only our own
/// tables matter, so the last attempt counts.
const ROUNDS: usize = 5;

/// `NFTA_GEN_ID`.
const GENERATION_ID: usize = 1;

/// The generation of the namespace's ruleset.
pub(super) fn generation(socket: &mut Socket) -> Result<u32, CommitError> {
    let mut id = None;
    let request = one(socket, Kind::GET_GENERATION, None, 0, |_| ());
    let read = socket.request(&request, false, |message| {
        if message.kind == Kind::NEW_GENERATION.number() {
            id = message.body().and_then(|(_, body)| u32_of(by_kind::<2>(body)[GENERATION_ID]));
        }
    });
    read.map_err(|failure| explain(failure, "asking for the generation"))?;
    id.ok_or_else(|| trouble(None, Remedy::Retry, "the kernel did not tell the generation".to_owned()))
}

/// Both tables.
pub(super) fn read_back(socket: &mut Socket, wanted: Wanted) -> Result<Live, CommitError> {
    let mut before = generation(socket)?;
    for _ in 1..ROUNDS {
        let live = tables(socket, wanted);
        let after = generation(socket)?;
        match live {
            Ok(live) if before == after => return Ok(live),
            Err(error) if error.remedy != Remedy::Retry => return Err(error),
            _ => before = after,
        }
    }
    tables(socket, wanted)
}

fn tables(socket: &mut Socket, wanted: Wanted) -> Result<Live, CommitError> {
    Ok(PerFamily { v4: table(socket, Family::V4, wanted)?, v6: table(socket, Family::V6, wanted)? })
}

fn table(socket: &mut Socket, family: Family, wanted: Wanted) -> Result<Option<LiveTable>, CommitError> {
    let Some(flags) = table::flags(socket, family, wanted)? else { return Ok(None) };
    let mut table = LiveTable { flags, sets: BTreeMap::new(), chains: chains(socket, family)? };
    for (name, def) in set_defs(socket, family)? {
        let set = live_set(socket, family, &name, def)?;
        table.sets.insert(name, set);
    }
    rules(socket, family, &mut table.chains)?;
    Ok(Some(table))
}

/// ENOENT, or a kernel without the family.
pub(super) fn is_absent(refusal: &Refusal) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_raw_os_error(refusal.errno), Errno::NOENT | Errno::AFNOSUPPORT | Errno::OPNOTSUPP)
}

pub(super) fn chains(socket: &mut Socket, family: Family) -> Result<BTreeMap<Name, LiveChain>, CommitError> {
    let bodies = dump(socket, Kind::GET_CHAIN, family, |w| w.put_str(TABLE_ATTR, TABLE), "reading the chains")?;
    Ok(bodies.iter().filter(|body| is_ours(body)).filter_map(|body| chain::decode(body)).collect())
}

pub(super) fn rules(
    socket: &mut Socket,
    family: Family,
    chains: &mut BTreeMap<Name, LiveChain>,
) -> Result<(), CommitError> {
    let bodies = dump(socket, Kind::GET_RULE, family, |w| w.put_str(TABLE_ATTR, TABLE), "reading the rules")?;
    let rules = bodies.iter().filter(|body| is_ours(body)).filter_map(|body| chain::decode_rule(body, family));
    for (chain, rule) in rules {
        if let Some(chain) = chains.get_mut(chain) {
            chain.rules.push(rule);
        }
    }
    Ok(())
}

fn set_defs(socket: &mut Socket, family: Family) -> Result<Vec<(Name, Option<SetDef>)>, CommitError> {
    let bodies = dump(socket, Kind::GET_SET, family, |w| w.put_str(TABLE_ATTR, TABLE), "reading the sets")?;
    let named = bodies.iter().filter(|body| is_ours(body) && !set::is_anonymous(body));
    Ok(named.filter_map(|body| set::decode(body)).collect())
}

/// A set with its elements; one that holds what ferroproxy never writes is none of its shape.
fn live_set(socket: &mut Socket, family: Family, name: &Name, def: Option<SetDef>) -> Result<LiveSet, CommitError> {
    let unknown = LiveSet { def: None, elements: Elements::new() };
    let Some(def) = def else { return Ok(unknown) };
    if def.learned.is_some() {
        // What rules have learned is nobody's wish, and there may be very much of it.
        return Ok(LiveSet { def: Some(def), elements: Elements::new() });
    }
    let bodies = elements(socket, family, name)?;
    let mut reader = element::Reader::new(&def);
    for body in &bodies {
        attrs(body).filter(|(kind, _)| *kind == LIST_ELEMENTS).for_each(|(_, list)| reader.list(list));
    }
    Ok(reader.finish().map_or(unknown, |elements| LiveSet { def: Some(def), elements: elements.into() }))
}

/// What the elements of a counting set have counted.
pub(super) fn counted(
    socket: &mut Socket,
    family: Family,
    name: &Name,
    key: &[Field],
) -> Result<Vec<Counted>, CommitError> {
    let bodies = elements(socket, family, name)?;
    let lists = bodies.iter().flat_map(|body| attrs(body)).filter(|(kind, _)| *kind == LIST_ELEMENTS);
    Ok(lists.flat_map(|(_, list)| element::counted(key, list)).collect())
}

fn elements(socket: &mut Socket, family: Family, name: &Name) -> Result<Vec<Vec<u8>>, CommitError> {
    let ask = |w: &mut Writer| {
        w.put_str(TABLE_ATTR, TABLE);
        w.put_str(LIST_SET, name.as_str());
    };
    dump(socket, Kind::GET_ELEMENTS, family, ask, &format!("reading the elements of {name}"))
}

/// The attributes of every object of a kind; taken anew while others change the ruleset.
pub(super) fn dump(
    socket: &mut Socket,
    kind: Kind,
    family: Family,
    ask: impl Fn(&mut Writer),
    what: &str,
) -> Result<Vec<Vec<u8>>, CommitError> {
    for _ in 0..ATTEMPTS {
        let (mut bodies, mut interrupted) = (Vec::new(), false);
        let request = one(socket, kind, Some(family), DUMP, &ask);
        let read = socket.request(&request, true, |message| {
            interrupted |= message.flags & DUMP_INTERRUPTED != 0;
            let body = message.body().filter(|(of, _)| *of == family_number(family));
            bodies.extend(body.map(|(_, body)| body.to_vec()));
        });
        match read {
            Ok(()) if interrupted => continue,
            Ok(()) => return Ok(bodies),
            Err(Failure::Refused(refusals)) if refusals.iter().all(is_interrupted) => continue,
            Err(Failure::Refused(refusals)) if refusals.iter().all(is_absent) => return Err(went_away(family, what)),
            Err(failure) => return Err(explain(failure, &format!("{}: {what}", family.nft()))),
        }
    }
    let message = format!("{}: {what}: others kept changing the ruleset", family.nft());
    Err(trouble(None, Remedy::Retry, message))
}

/// The table was there a moment ago.
fn went_away(family: Family, what: &str) -> CommitError {
    let message = format!("{}: {what}: the table or set was removed meanwhile", family.nft());
    trouble(Some(rustix::io::Errno::NOENT.raw_os_error()), Remedy::Retry, message)
}

/// EINTR: the ruleset changed while the kernel answered.
fn is_interrupted(refusal: &Refusal) -> bool {
    refusal.errno == rustix::io::Errno::INTR.raw_os_error()
}

pub(super) fn one(
    socket: &Socket,
    kind: Kind,
    family: Option<Family>,
    flags: u16,
    fill: impl FnOnce(&mut Writer),
) -> Vec<u8> {
    let mut w = Writer::default();
    message(&mut w, Head { kind, flags, family, seq: socket.seq().wrapping_add(1) }, fill);
    w.bytes
}

pub(super) fn explain(failure: Failure, what: &str) -> CommitError {
    match failure {
        Failure::Trouble(error) => error,
        Failure::Refused(refusals) => {
            let number = refusals.first().map_or(0, |refusal| refusal.errno);
            let said = refusals.iter().find_map(|r| r.words.as_deref()).unwrap_or("nothing");
            let message = format!("{what}: {}; the kernel says: {said}", errno::words(number));
            trouble(Some(number), errno::remedy(number), message)
        }
    }
}
