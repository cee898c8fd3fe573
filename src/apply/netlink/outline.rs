//! Reading what can be seen of our tables without their elements.

use super::attr::{by_kind, u32_of};
use super::dump::{chains, dump, rules};
use super::message::{Kind, TABLE_ATTR, is_ours};
use super::set;
use super::socket::Socket;
use super::table::{self, Wanted};
use crate::apply::target::{CommitError, LiveTable, Outline, SetOutlines, TableOutline};
use crate::compile::ruleset::TABLE;
use crate::model::{Family, PerFamily};

/// `NFTA_SET_COUNT`: the number of elements; older kernels do not tell it.
const COUNT: usize = 20;

/// Both tables. One that changes while it is read may look strange: what follows is a closer look.
pub(super) fn outline(socket: &mut Socket, wanted: Wanted) -> Result<Outline, CommitError> {
    Ok(PerFamily { v4: of(socket, Family::V4, wanted)?, v6: of(socket, Family::V6, wanted)? })
}

fn of(socket: &mut Socket, family: Family, wanted: Wanted) -> Result<Option<TableOutline>, CommitError> {
    let Some(flags) = table::flags(socket, family, wanted)? else { return Ok(None) };
    let mut chains = chains(socket, family)?;
    rules(socket, family, &mut chains)?;
    let frame = LiveTable { flags, chains, ..LiveTable::default() };
    Ok(Some(TableOutline { frame, sets: sets(socket, family)? }))
}

fn sets(socket: &mut Socket, family: Family) -> Result<SetOutlines, CommitError> {
    let bodies = dump(socket, Kind::GET_SET, family, |w| w.put_str(TABLE_ATTR, TABLE), "reading the sets")?;
    let read = |body: &Vec<u8>| {
        let (name, def) = set::decode(body)?;
        Some((name, (def, u32_of(by_kind::<{ COUNT + 1 }>(body)[COUNT]).map(|count| count as usize))))
    };
    Ok(bodies.iter().filter(|body| is_ours(body) && !set::is_anonymous(body)).filter_map(read).collect())
}
