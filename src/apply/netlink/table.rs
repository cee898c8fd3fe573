//! The table itself: its name and flags.

use super::attr::{Writer, by_kind, u32_of};
use super::dump::{explain, is_absent, one};
use super::message::{Kind, TABLE_ATTR};
use super::socket::{Failure, Socket};
use crate::apply::target::{CommitError, TableFlags};
use crate::compile::ruleset::TABLE;
use crate::model::Family;

/// `NFTA_TABLE_FLAGS`.
const FLAGS: u16 = 2;

/// `NFT_TABLE_F_DORMANT`: its chains are not hooked.
const DORMANT: u32 = 1;
/// `NFT_TABLE_F_OWNER`: only the socket that made or adopted it may change it.
const OWNER: u32 = 2;
/// `NFT_TABLE_F_PERSIST`: it stays when its owner's socket is closed.
const PERSIST: u32 = 4;

/// The flags tables are to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wanted {
    /// None: anybody may change them.
    #[default]
    Free,
    /// Owner and persist: nobody but this socket may.
    Owned,
}

impl Wanted {
    fn number(self) -> u32 {
        match self {
            Wanted::Free => 0,
            Wanted::Owned => OWNER | PERSIST,
        }
    }
}

/// Writes the attributes of a table. Without flags the kernel leaves those of a table that exists alone.
pub(super) fn encode(w: &mut Writer, flags: Option<Wanted>) {
    w.put_str(TABLE_ATTR, TABLE);
    if let Some(flags) = flags {
        w.put_u32(FLAGS, flags.number());
    }
}

/// How the flags of a family's table stand to the wanted ones; `None`: there is no such table.
pub(super) fn flags(socket: &mut Socket, family: Family, wanted: Wanted) -> Result<Option<TableFlags>, CommitError> {
    Ok(read(socket, family)?.map(|now| judge(now, wanted)))
}

/// Whether somebody owns a family's table.
pub(super) fn is_owned(socket: &mut Socket, family: Family) -> Result<bool, CommitError> {
    Ok(read(socket, family)?.is_some_and(|flags| flags & OWNER != 0))
}

fn read(socket: &mut Socket, family: Family) -> Result<Option<u32>, CommitError> {
    let request = one(socket, Kind::GET_TABLE, Some(family), 0, |w| w.put_str(TABLE_ATTR, TABLE));
    let mut flags = 0;
    let answer = socket.request(&request, false, |message| {
        if let (true, Some((_, body))) = (message.kind == Kind::NEW_TABLE.number(), message.body()) {
            flags = u32_of(by_kind::<3>(body)[usize::from(FLAGS)]).unwrap_or(0);
        }
    });
    match answer {
        Ok(()) => Ok(Some(flags)),
        Err(Failure::Refused(refusals)) if refusals.iter().all(is_absent) => Ok(None),
        Err(failure) => Err(explain(failure, "reading the table")),
    }
}

/// What it takes to get from these flags to the wanted ones (`nf_tables_updtable`): `dormant` can be taken away; a table that a dead owner
/// left can be adopted; owner and persist can be set on no other table, and persist cannot be taken away.
fn judge(now: u32, wanted: Wanted) -> TableFlags {
    let (is_asleep, is_owned, persists) = (now & DORMANT != 0, now & OWNER != 0, now & PERSIST != 0);
    match wanted {
        Wanted::Owned if is_owned && persists && !is_asleep => TableFlags::AsWanted,
        Wanted::Owned if persists => TableFlags::ToSet,
        Wanted::Owned => TableFlags::ToRebuild,
        Wanted::Free if !is_asleep => TableFlags::AsWanted,
        Wanted::Free if persists || is_owned => TableFlags::ToRebuild,
        Wanted::Free => TableFlags::ToSet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_lead_to_the_least_that_helps() {
        use TableFlags::{AsWanted, ToRebuild, ToSet};
        let cases = [
            (0, AsWanted, ToRebuild),
            (DORMANT, ToSet, ToRebuild),
            (PERSIST, AsWanted, ToSet),
            (PERSIST | DORMANT, ToRebuild, ToSet),
            (OWNER | PERSIST, AsWanted, AsWanted),
            (OWNER | PERSIST | DORMANT, ToRebuild, ToSet),
        ];
        for (now, free, owned) in cases {
            assert_eq!((judge(now, Wanted::Free), judge(now, Wanted::Owned)), (free, owned), "{now}");
        }
    }
}
