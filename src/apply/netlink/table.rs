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

/// Writes the attributes of a table. Without `flags` the kernel leaves those of a table that exists alone.
pub(super) fn encode(w: &mut Writer, flags: bool) {
    w.put_str(TABLE_ATTR, TABLE);
    if flags {
        w.put_u32(FLAGS, 0);
    }
}

/// How the flags of a family's table stand; `None`: there is no such table.
pub(super) fn flags(socket: &mut Socket, family: Family) -> Result<Option<TableFlags>, CommitError> {
    let request = one(socket, Kind::GET_TABLE, Some(family), 0, |w| w.put_str(TABLE_ATTR, TABLE));
    let mut flags = 0;
    let answer = socket.request(&request, false, |message| {
        if let (true, Some((_, body))) = (message.kind == Kind::NEW_TABLE.number(), message.body()) {
            flags = u32_of(by_kind::<3>(body)[usize::from(FLAGS)]).unwrap_or(0);
        }
    });
    match answer {
        Ok(()) => Ok(Some(judge(flags))),
        Err(Failure::Refused(refusals)) if refusals.iter().all(is_absent) => Ok(None),
        Err(failure) => Err(explain(failure, "reading the table")),
    }
}

fn judge(flags: u32) -> TableFlags {
    match flags {
        _ if flags & DORMANT == 0 => TableFlags::AsWanted,
        DORMANT => TableFlags::ToSet,
        _ => TableFlags::ToRebuild,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_table_is_woken_and_one_that_cannot_be_is_rebuilt() {
        assert_eq!(judge(0), TableFlags::AsWanted);
        assert_eq!(judge(4), TableFlags::AsWanted, "left by a process that owned it");
        assert_eq!(judge(1), TableFlags::ToSet);
        assert_eq!(judge(5), TableFlags::ToRebuild);
    }
}
