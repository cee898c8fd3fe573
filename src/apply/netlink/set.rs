//! Sets and maps, there and back.

use super::attr::{Writer, by_kind, str_of, u32_of, u64_of};
use super::message::TABLE_ATTR;
use super::{expr, field, userdata};
use crate::compile::ruleset::{DataType, Name, SetDef, TABLE};

/// `NFTA_SET_NAME`.
pub(super) const NAME: u16 = 2;

/// `NFTA_SET_*`.
mod kind {
    pub(super) const FLAGS: u16 = 3;
    pub(super) const KEY_TYPE: u16 = 4;
    pub(super) const KEY_LEN: u16 = 5;
    pub(super) const DATA_TYPE: u16 = 6;
    pub(super) const DATA_LEN: u16 = 7;
    pub(super) const DESC: u16 = 9;
    pub(super) const ID: u16 = 10;
    pub(super) const TIMEOUT: u16 = 11;
    pub(super) const USERDATA: u16 = 13;
    pub(super) const EXPR: u16 = 17;
}

/// `NFT_SET_ANONYMOUS`.
const ANONYMOUS: u32 = 0x1;
/// `NFT_SET_INTERVAL`.
const INTERVAL: u32 = 0x4;
/// `NFT_SET_MAP`.
const MAP: u32 = 0x8;
/// `NFT_SET_TIMEOUT | NFT_SET_EVAL`.
const LEARNED: u32 = 0x30;
/// `NFT_SET_CONCAT`: ranges over a concatenation.
const CONCAT: u32 = 0x80;

/// `NFT_DATA_VERDICT`.
const VERDICT_TYPE: u32 = 0xffff_ff00;

/// `NFTA_SET_DESC_SIZE`, `NFTA_SET_DESC_CONCAT`, `NFTA_SET_FIELD_LEN`.
const DESC_SIZE: u16 = 1;
const DESC_CONCAT: u16 = 2;
const FIELD_LEN: u16 = 1;

/// Writes the attributes of a set. `id` is any number that no other set of the batch has.
pub(super) fn encode(w: &mut Writer, name: &Name, def: &SetDef, id: u32) {
    w.put_str(TABLE_ATTR, TABLE);
    w.put_str(NAME, name.as_str());
    w.put_u32(kind::FLAGS, flags(def));
    w.put_u32(kind::KEY_TYPE, field::datatype_of(&def.key));
    w.put_u32(kind::KEY_LEN, field::len_of(&def.key) as u32);
    match &def.data {
        DataType::None => {}
        DataType::Verdict => w.put_u32(kind::DATA_TYPE, VERDICT_TYPE),
        DataType::Fields(fields) => {
            w.put_u32(kind::DATA_TYPE, field::datatype_of(fields));
            w.put_u32(kind::DATA_LEN, field::len_of(fields) as u32);
        }
    }
    w.put_u32(kind::ID, id);
    encode_description(w, def);
    if let Some(ms) = def.learned {
        w.put_u64(kind::TIMEOUT, ms);
    }
    w.put(kind::USERDATA, &userdata::of_set(def));
    if def.counted {
        w.nest(kind::EXPR, expr::encode_counter);
    }
}

fn encode_description(w: &mut Writer, def: &SetDef) {
    if def.size.is_none() && !has_ranges_of_fields(def) {
        return;
    }
    w.nest(kind::DESC, |w| {
        if let Some(size) = def.size {
            w.put_u32(DESC_SIZE, size);
        }
        if has_ranges_of_fields(def) {
            w.nest(DESC_CONCAT, |w| {
                for field in &def.key {
                    w.nest(expr::LIST_ELEM, |w| w.put_u32(FIELD_LEN, field::len(*field) as u32));
                }
            });
        }
    });
}

/// Whether the kernel keeps the set as ranges of each field (pipapo) and not as start and end of the whole key.
pub(super) fn has_ranges_of_fields(def: &SetDef) -> bool {
    def.interval && def.key.len() > 1
}

fn flags(def: &SetDef) -> u32 {
    let mut flags = 0;
    if def.interval {
        flags |= INTERVAL;
    }
    if has_ranges_of_fields(def) {
        flags |= CONCAT;
    }
    if def.data != DataType::None {
        flags |= MAP;
    }
    if def.learned.is_some() {
        flags |= LEARNED;
    }
    flags
}

/// Whether a set belongs to the rule that uses it, and goes with it. ferroproxy makes none.
pub(super) fn is_anonymous(body: &[u8]) -> bool {
    u32_of(by_kind::<4>(body)[usize::from(kind::FLAGS)]).is_some_and(|flags| flags & ANONYMOUS != 0)
}

/// Reads a set's name and shape; the shape is `None` when ferroproxy makes no such set.
pub(super) fn decode(body: &[u8]) -> Option<(Name, Option<SetDef>)> {
    let set = by_kind::<18>(body);
    Some((str_of(set[usize::from(NAME)])?.into(), decode_def(&set)))
}

fn decode_def(set: &[Option<&[u8]>; 18]) -> Option<SetDef> {
    let at = |kind: u16| set[usize::from(kind)];
    let (key, data) = userdata::read_set(at(kind::USERDATA)?)?;
    let [_, size] = by_kind::<2>(at(kind::DESC).unwrap_or_default());
    let set_flags = u32_of(at(kind::FLAGS)).unwrap_or(0);
    let learned = u64_of(at(kind::TIMEOUT));
    let counted = match at(kind::EXPR) {
        None => false,
        Some(expr) => expr::decode_counter(expr).map(|_| true)?,
    };
    let def = SetDef { key, data, interval: set_flags & INTERVAL != 0, size: u32_of(size), learned, counted };
    let same_key = u32_of(at(kind::KEY_LEN))? as usize == field::len_of(&def.key)
        && u32_of(at(kind::KEY_TYPE))? == field::datatype_of(&def.key);
    let same_data = match &def.data {
        DataType::None => true,
        DataType::Verdict => u32_of(at(kind::DATA_TYPE))? == VERDICT_TYPE,
        DataType::Fields(fields) => u32_of(at(kind::DATA_LEN))? as usize == field::len_of(fields),
    };
    (same_key && same_data && set_flags == flags(&def)).then_some(def)
}
