//! Runs a packet through chains as `net/netfilter/nf_tables_core.c` does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::expr::{At, Comparison, Expr, Load, REGISTERS, Use, Verdict};
use super::set::Value;
use super::table::Table;
use crate::model::{EndpointAddr, Family};
use crate::netlink::message::family_number;
use crate::peer::draws::Draws;
use crate::peer::packet::{Fate, Packet, Unread};
use crate::peer::way::Flow;

/// `NFT_JUMP_STACK_SIZE`.
const DEEPEST: usize = 16;
/// `NF_CT_STATE_BIT(IP_CT_NEW)`.
const CT_NEW: u32 = 1 << 3;
/// `IPS_DST_NAT`.
const CT_DNATED: u32 = 1 << 5;
/// `RTN_UNICAST`, `RTN_LOCAL`.
const UNICAST: u32 = 1;
const LOCAL: u32 = 2;

/// What a rule or a chain came to.
enum Come {
    /// The next one.
    On,
    /// The packet's fate in this base chain is settled.
    End(Fate),
    /// Somewhere else.
    To(Verdict),
}

/// One run of a base chain.
pub(super) struct Machine<'a, 'b, 'c> {
    pub(super) table: &'a Table,
    pub(super) flow: &'b mut Flow<'c>,
    pub(super) draws: &'b mut Draws,
}

impl Machine<'_, '_, '_> {
    /// The fate in a base chain; its policy when no rule settles it.
    pub(super) fn base(&mut self, chain: &str) -> Result<Fate, Unread> {
        let policy = self.table.chains.get(chain).and_then(|chain| chain.hook).map(|hook| hook.drops);
        let otherwise = if policy == Some(true) { Fate::Dropped } else { Fate::Delivered };
        Ok(self.chain(chain, 0)?.unwrap_or(otherwise))
    }

    /// `None`: back to the caller.
    fn chain(&mut self, name: &str, depth: usize) -> Result<Option<Fate>, Unread> {
        let unread = |reason: &str| Unread { chain: name.to_owned(), reason: reason.to_owned() };
        if depth > DEEPEST {
            return Err(unread("chains call each other too deep"));
        }
        let chain = self.table.chains.get(name).ok_or_else(|| unread("there is no such chain"))?;
        for rule in &chain.rules {
            match self.rule(name, rule)? {
                Come::On => {}
                Come::End(fate) => return Ok(Some(fate)),
                Come::To(Verdict::Accept) => return Ok(Some(Fate::Delivered)),
                Come::To(Verdict::Drop) => return Ok(Some(Fate::Dropped)),
                Come::To(Verdict::Return) => return Ok(None),
                Come::To(Verdict::Goto(next)) => return self.chain(&next, depth + 1),
                Come::To(Verdict::Jump(next)) => {
                    if let Some(fate) = self.chain(&next, depth + 1)? {
                        return Ok(Some(fate));
                    }
                }
            }
        }
        Ok(None)
    }

    fn rule(&mut self, chain: &str, rule: &[Expr]) -> Result<Come, Unread> {
        let mut registers = [0; REGISTERS];
        for expr in rule {
            match self.expr(expr, &mut registers) {
                Ok(Some(Come::On)) => {}
                Ok(Some(come)) => return Ok(come),
                // The rule does not match.
                Ok(None) => return Ok(Come::On),
                Err(reason) => return Err(Unread { chain: chain.to_owned(), reason }),
            }
        }
        Ok(Come::On)
    }

    /// `None`: the rule ends here.
    fn expr(&mut self, expr: &Expr, registers: &mut [u8; REGISTERS]) -> Result<Option<Come>, String> {
        match expr {
            Expr::Load(load, at) => match self.load(*load) {
                Some(bytes) => put(registers, *at, &bytes),
                None => return Ok(None),
            },
            Expr::Constant(at, bytes) => put(registers, *at, bytes),
            Expr::SetMark(at) => self.flow.mark = u32::from_ne_bytes(take(registers, *at)),
            Expr::Bitwise { from, to, mask, xor } => {
                let bits =
                    registers[*from..].iter().zip(mask).zip(xor).map(|((value, mask), xor)| (value & mask) ^ xor);
                put(registers, *to, &bits.collect::<Vec<u8>>());
            }
            Expr::Compare { at, how, with } => return Ok(holds(&registers[*at..], *how, with).then_some(Come::On)),
            Expr::Lookup { set, at, then } => return self.lookup(set, *at, *then, registers),
            Expr::Verdict(verdict) => return Ok(Some(Come::To(verdict.clone()))),
            Expr::Dnat { ip, port } => {
                let port = port.map_or(self.flow.packet.port, |at| u16::from_be_bytes(take(registers, at)));
                self.flow.dnat(EndpointAddr { ip: address(registers, *ip, self.flow.packet.family()), port });
                return Ok(Some(Come::End(Fate::Delivered)));
            }
            Expr::Masquerade => {
                self.flow.is_masqueraded = true;
                return Ok(Some(Come::End(Fate::Delivered)));
            }
            Expr::Reject => return Ok(Some(Come::End(Fate::Refused))),
            Expr::Idle => {}
            Expr::Unknown(name) => return Err(format!("a rule uses `{name}`, which kube-proxy is not known to write")),
        }
        Ok(Some(Come::On))
    }

    fn load(&mut self, load: Load) -> Option<Vec<u8>> {
        let packet = &self.flow.packet;
        let part = |bytes: Vec<u8>, offset: u32, len: u32| {
            bytes.get(offset as usize..(offset + len) as usize).map(<[u8]>::to_vec)
        };
        let kind = |ip| if self.flow.is_local(ip) { LOCAL } else { UNICAST };
        let number = match load {
            Load::Network { offset, len } => return part(network_header(packet), offset, len),
            Load::Transport { offset, len } => return part(transport_header(packet), offset, len),
            Load::L4Protocol => return Some(vec![packet.protocol.number()]),
            Load::NfProtocol => return Some(vec![family_number(packet.family())]),
            Load::InputInterface => {
                let mut name = packet.interface.clone().unwrap_or_default().into_bytes();
                name.resize(16, 0);
                return Some(name);
            }
            Load::Mark => self.flow.mark,
            Load::SourceType => kind(packet.source),
            Load::DestinationType => kind(packet.destination),
            Load::CtState => CT_NEW,
            Load::CtStatus => u32::from(self.flow.is_dnated) * CT_DNATED,
            Load::Random { modulus, offset } => self.draws.below(modulus.max(1)) + offset,
        };
        Some(number.to_ne_bytes().to_vec())
    }

    fn lookup(&self, name: &str, at: At, then: Use, registers: &mut [u8; REGISTERS]) -> Result<Option<Come>, String> {
        let set = self.table.sets.get(name).ok_or_else(|| format!("there is no set {name}"))?;
        if set.is_unread {
            return Err(format!("the set {name} has ranges in several fields"));
        }
        let key = registers.get(at..at + set.key_len).ok_or_else(|| format!("the key of {name} is too long"))?;
        match (set.find(key), then) {
            (found, Use::Test { invert }) => Ok((found.is_some() != invert).then_some(Come::On)),
            (None, _) => Ok(None),
            (Some(Value::Verdict(verdict)), Use::Verdict) => Ok(Some(Come::To(verdict.clone()))),
            (Some(Value::Data(data)), Use::Load(to)) => {
                put(registers, to, data);
                Ok(Some(Come::On))
            }
            _ => Err(format!("an element of {name} does not carry what is looked up")),
        }
    }
}

/// Writes into registers; the kernel pads to whole words.
fn put(registers: &mut [u8; REGISTERS], at: At, bytes: &[u8]) {
    let padded = bytes.iter().copied().chain(std::iter::repeat_n(0, bytes.len().next_multiple_of(4) - bytes.len()));
    registers[at..].iter_mut().zip(padded).for_each(|(register, byte)| *register = byte);
}

/// Reads from registers; they are longer than anything that is read.
fn take<const N: usize>(registers: &[u8; REGISTERS], at: At) -> [u8; N] {
    std::array::from_fn(|index| registers.get(at + index).copied().unwrap_or_default())
}

fn holds(value: &[u8], how: Comparison, with: &[u8]) -> bool {
    let order = value.iter().take(with.len()).cmp(with);
    match how {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}

fn address(registers: &[u8; REGISTERS], at: At, family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from(take::<4>(registers, at)).into(),
        Family::V6 => Ipv6Addr::from(take::<16>(registers, at)).into(),
    }
}

/// The IP header without options; what no rule reads is zero.
fn network_header(packet: &Packet) -> Vec<u8> {
    let mut header = vec![0; if packet.family() == Family::V4 { 12 } else { 8 }];
    match packet.family() {
        Family::V4 => (header[0], header[9]) = (0x45, packet.protocol.number()),
        Family::V6 => (header[0], header[6]) = (0x60, packet.protocol.number()),
    }
    for ip in [packet.source, packet.destination] {
        header.extend(super::table::octets(ip));
    }
    header
}

/// The ports, and as much more as the shortest header has.
fn transport_header(packet: &Packet) -> Vec<u8> {
    let mut header = 40_000u16.to_be_bytes().to_vec();
    header.extend(packet.port.to_be_bytes());
    header.resize(8, 0);
    header
}
