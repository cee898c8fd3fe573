//! One expression as the kernel's attributes, there and back (`include/uapi/linux/netfilter/nf_tables.h`).

mod counter;
mod decode;
mod encode;

pub(super) use counter::{decode_counter, encode_counter};
pub(super) use decode::{decode_rule, decode_verdict};
pub(super) use encode::{encode_rule, encode_verdict};

use crate::compile::expr::RejectWith;
use crate::model::Family;

/// `NFTA_LIST_ELEM`.
pub(super) const LIST_ELEM: u16 = 1;

/// `NFTA_DATA_VALUE`.
pub(super) const DATA_VALUE: u16 = 1;
/// `NFTA_DATA_VERDICT`.
pub(super) const DATA_VERDICT: u16 = 2;

/// `NFTA_EXPR_NAME` and `NFTA_EXPR_DATA`.
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;

/// `NF_DROP`, `NF_ACCEPT` and `NFT_JUMP`, `NFT_GOTO`, `NFT_RETURN`.
mod code {
    pub(super) const DROP: u32 = 0;
    pub(super) const ACCEPT: u32 = 1;
    pub(super) const JUMP: u32 = -3i32 as u32;
    pub(super) const GOTO: u32 = -4i32 as u32;
    pub(super) const RETURN: u32 = -5i32 as u32;
}

/// `NFT_META_*` that are used.
mod meta {
    pub(super) const PRIORITY: u32 = 2;
    pub(super) const MARK: u32 = 3;
    pub(super) const IIFNAME: u32 = 6;
    pub(super) const L4PROTO: u32 = 16;
}

/// `NFT_CT_STATUS`.
const CT_STATUS: u32 = 2;
/// `NFT_FIB_RESULT_ADDRTYPE`.
const FIB_ADDRTYPE: u32 = 3;
/// `NFTA_FIB_F_SADDR`, `NFTA_FIB_F_DADDR`.
const FIB_SADDR: u32 = 1;
const FIB_DADDR: u32 = 2;
/// `NFT_LOOKUP_F_INV`.
const LOOKUP_INVERT: u32 = 1;
/// `NFT_DYNSET_OP_UPDATE`, `NFT_DYNSET_OP_DELETE`.
const DYNSET_UPDATE: u32 = 1;
const DYNSET_DELETE: u32 = 2;
/// `NFT_NG_RANDOM`.
const NUMGEN_RANDOM: u32 = 1;
/// `NFT_NAT_DNAT`.
const NAT_DNAT: u32 = 1;
/// `NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED`: what the kernel adds by itself for an address and a port.
const NAT_ADDR_AND_PORT: u32 = 3;
/// `NF_NAT_RANGE_PROTO_RANDOM_FULLY`.
const NAT_FULLY_RANDOM: u32 = 1 << 4;
/// `NFT_REJECT_ICMP_UNREACH`, `NFT_REJECT_TCP_RST`.
const REJECT_ICMP: u32 = 0;
const REJECT_RESET: u32 = 1;

/// `NFT_REG_VERDICT`.
const VERDICT_REGISTER: u32 = 0;
/// `NFT_REG_1`: the first of four 16-byte registers.
const FIRST_16: u32 = 1;
/// `NFT_REG32_00`: the first of sixteen 4-byte registers.
const FIRST_4: u32 = 8;
/// Registers there are, in words.
const WORDS: u8 = 16;

/// The kernel's reject type, and the ICMP code where there is one.
fn reject_numbers(with: RejectWith, family: Family) -> (u32, Option<u8>) {
    match (with, family) {
        (RejectWith::TcpReset, _) => (REJECT_RESET, None),
        (RejectWith::PortUnreachable, Family::V4) => (REJECT_ICMP, Some(3)),
        (RejectWith::PortUnreachable, Family::V6) => (REJECT_ICMP, Some(4)),
    }
}

#[cfg(test)]
mod tests;
