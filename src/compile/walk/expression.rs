//! What each expression does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::machine::{Flow, Machine, Place};
use super::registers::Registers;
use super::trace::{Event, Hit, Reason};
use crate::compile::bytes::Bytes;
use crate::compile::expr::{CmpOp, DynsetOp, Expr, Header, IPS_DST_NAT, MetaKey, Reg};
use crate::compile::print::{data_text, element_text, field_words, split_fields};
use crate::compile::ruleset::{ChainKind, DataType, Element, HookPoint, Name, Set, Value, Verdict};
use crate::model::{EndpointAddr, Family};

/// Room for an interface name in the kernel, in bytes.
const IFNAMSIZ: usize = 16;

impl<'a> Machine<'a> {
    /// Runs one expression.
    pub(super) fn evaluate(&mut self, at: Place<'a>, expr: &Expr, regs: &mut Registers) -> Result<Flow, Reason> {
        match expr {
            Expr::Payload { header, offset, len, dreg } => return self.payload(*header, *offset, *len, *dreg, regs),
            Expr::Meta { key, dreg } => self.meta(*key, *dreg, regs)?,
            Expr::MetaSet { key, sreg } => return self.set_meta(at, *key, *sreg, regs),
            Expr::FibType { source, dreg } => {
                let ip = if *source { self.packet.source } else { self.packet.destination };
                regs.store_number(*dreg, self.environment.route_type(ip))?;
            }
            Expr::CtStatus { dreg } => regs.store_number(*dreg, self.status)?,
            Expr::Bitwise { sreg, dreg, mask, xor } => {
                let value = regs.load(*sreg, mask.len())?;
                let bits = value.iter().zip(mask).zip(xor.iter().chain(std::iter::repeat(&0)));
                regs.store(*dreg, &bits.map(|((v, m), x)| (v & m) ^ x).collect::<Vec<u8>>())?;
            }
            Expr::Cmp { sreg, op, data } => {
                let equal = regs.load(*sreg, data.len())? == *data;
                return Ok(if equal == (*op == CmpOp::Eq) { Flow::Next } else { Flow::Break });
            }
            Expr::Immediate { dreg, data } => regs.store(*dreg, data)?,
            Expr::Random { modulus, dreg } => {
                let slot = (self.random)(*modulus) % (*modulus).max(1);
                self.note(at, Event::Slot { modulus: *modulus, slot });
                regs.store_number(*dreg, slot)?;
            }
            Expr::InSet { .. } | Expr::Vmap { .. } | Expr::Map { .. } => return self.lookup(at, expr, regs),
            Expr::Dynset { op, set, sreg, data, .. } => return self.change(at, *op, set, (*sreg, *data), regs),
            Expr::Dnat { .. } | Expr::Masquerade | Expr::Reject(_) | Expr::Verdict(_) => {
                return self.finish(at, expr, regs);
            }
        }
        Ok(Flow::Next)
    }

    /// A load beyond the header ends the rule (`nft_payload_eval`).
    fn payload(&self, header: Header, offset: u32, len: u32, dreg: Reg, regs: &mut Registers) -> Result<Flow, Reason> {
        let bytes = match header {
            Header::Network => self.packet.network_header(),
            Header::Transport => self.packet.transport_header(),
        };
        let start = offset as usize;
        match bytes.get(start..start.saturating_add(len as usize)) {
            Some(part) => regs.store(dreg, part).map(|()| Flow::Next),
            None => Ok(Flow::Break),
        }
    }

    fn meta(&self, key: MetaKey, dreg: Reg, regs: &mut Registers) -> Result<(), Reason> {
        match key {
            MetaKey::Mark => regs.store_number(dreg, self.packet.mark),
            MetaKey::Priority => regs.store_number(dreg, self.priority),
            MetaKey::L4Proto => regs.store(dreg, &[self.packet.protocol]),
            MetaKey::InputInterfaceName => {
                // Without an input interface the kernel compares with an empty name.
                let mut name = self.packet.input_interface.clone().unwrap_or_default().into_bytes();
                name.resize(IFNAMSIZ, 0);
                regs.store(dreg, &name)
            }
        }
    }

    fn set_meta(&mut self, at: Place<'a>, key: MetaKey, sreg: Reg, regs: &Registers) -> Result<Flow, Reason> {
        let value = regs.load_number(sreg)?;
        match key {
            MetaKey::Mark => {
                self.packet.mark = value;
                self.note(at, Event::Mark(value));
            }
            MetaKey::Priority => self.priority = value,
            MetaKey::L4Proto | MetaKey::InputInterfaceName => {
                return Err(Reason::NotHere(Expr::MetaSet { key, sreg }));
            }
        }
        Ok(Flow::Next)
    }

    /// Learns or forgets an element. What is known keeps its data, and a full map ends the rule (`nft_dynset_eval`).
    fn change(
        &mut self,
        at: Place<'a>,
        op: DynsetOp,
        name: &Name,
        (sreg, data): (Reg, Reg),
        regs: &Registers,
    ) -> Result<Flow, Reason> {
        let set = self.programs.sets.get(name).ok_or_else(|| Reason::NoSuchSet(name.clone()))?;
        let DataType::Fields(fields) = &set.def.data else { return Err(Reason::WrongValue(name.clone())) };
        let key = key_at(set, name, sreg, regs)?;
        let words: usize = fields.iter().map(|f| field_words(*f)).sum();
        let data = Bytes::from_wire(&regs.load(data, words * 4)?).ok_or_else(|| Reason::WrongValue(name.clone()))?;
        let text = data_text(&set.def.key, &key);
        let known = set.elements.contains_key(&key) || self.learned.get(name, &key).is_some();
        let full = set.def.size.is_some_and(|size| set.elements.len() + self.learned.count(name) >= size as usize);
        match op {
            DynsetOp::Delete => self.learned.forget(name, &key),
            DynsetOp::Update if !known && full => return Ok(Flow::Break),
            DynsetOp::Update if !known => {
                self.note(at, Event::Learned { set: name.clone(), key: text, value: data_text(fields, &data) });
                self.learned.learn(name, key, data);
            }
            DynsetOp::Update => {}
        }
        Ok(Flow::Next)
    }

    fn lookup(&mut self, at: Place<'a>, expr: &Expr, regs: &mut Registers) -> Result<Flow, Reason> {
        let (Expr::InSet { set, sreg, .. } | Expr::Vmap { set, sreg } | Expr::Map { set, sreg, .. }) = expr else {
            return Ok(Flow::Next);
        };
        let found = self.search(at, set, *sreg, regs)?;
        match (expr, found) {
            (Expr::InSet { invert, .. }, found) if found.is_some() == *invert => Ok(Flow::Break),
            (Expr::InSet { .. }, _) => Ok(Flow::Next),
            (_, None) => Ok(Flow::Break),
            (Expr::Vmap { .. }, Some(Element { value: Value::Verdict(verdict), .. })) => Ok(Flow::Take(verdict)),
            (Expr::Map { dreg, .. }, Some(Element { value: Value::Data(data), .. })) => {
                regs.store(*dreg, data.as_slice()).map(|()| Flow::Next)
            }
            _ => Err(Reason::WrongValue(set.clone())),
        }
    }

    fn search(&mut self, at: Place<'a>, name: &Name, sreg: Reg, regs: &Registers) -> Result<Option<Element>, Reason> {
        let set = self.programs.sets.get(name).ok_or_else(|| Reason::NoSuchSet(name.clone()))?;
        let key = key_at(set, name, sreg, regs)?;
        let learned = self.learned.get(name, &key).cloned();
        let learned = learned.map(|data| (&key, Element { value: Value::Data(data), comment: None }));
        let found = learned.or_else(|| find(set, &key).map(|(key, element)| (key, element.clone())));
        let hit = found.as_ref().map(|(key, e)| Hit { text: element_text(&set.def, key, e), element: e.clone() });
        self.note(at, Event::Lookup { set: name.clone(), key: data_text(&set.def.key, &key), hit });
        Ok(found.map(|(_, element)| element))
    }

    /// Expressions that end a rule. Where each may stand: `nft_nat_validate`, `nft_masq_validate`, `nft_reject_validate`.
    fn finish(&mut self, at: Place<'a>, expr: &Expr, regs: &Registers) -> Result<Flow, Reason> {
        use HookPoint::{Output, Postrouting, Prerouting};
        let nat = at.hook.kind == ChainKind::Nat;
        match expr {
            Expr::Verdict(verdict) => {
                self.note(at, Event::Verdict(verdict.clone()));
                Ok(Flow::Take(verdict.clone()))
            }
            Expr::Reject(with) if at.hook.point != Postrouting => {
                self.note(at, Event::Reject(*with));
                Ok(Flow::Refuse(*with))
            }
            Expr::Dnat { family, addr, port } if nat && matches!(at.hook.point, Prerouting | Output) => {
                self.dnat(at, *family, *addr, *port, regs)
            }
            Expr::Masquerade if nat && at.hook.point == Postrouting => {
                (self.bound, self.masqueraded) = (true, true);
                self.note(at, Event::Masquerade);
                Ok(Flow::Take(Verdict::Accept))
            }
            _ => Err(Reason::NotHere(expr.clone())),
        }
    }

    /// Binds the connection and rewrites the packet. The status bit stands only for a change (`nf_nat_setup_info`).
    fn dnat(&mut self, at: Place<'a>, family: Family, addr: Reg, port: Reg, regs: &Registers) -> Result<Flow, Reason> {
        if family != self.packet.family() {
            return Err(Reason::WrongFamily);
        }
        let ip = address(&regs.load(addr, family.addr_len())?).ok_or(Reason::WrongFamily)?;
        let wire_port = regs.load(port, 2)?;
        let before = (self.packet.destination, self.packet.destination_port);
        self.packet.destination = ip;
        if self.packet.has_ports() {
            self.packet.destination_port = u16::from_be_bytes([wire_port[0], wire_port[1]]);
        }
        if before != (self.packet.destination, self.packet.destination_port) {
            self.status |= IPS_DST_NAT;
        }
        self.bound = true;
        self.note(at, Event::Dnat(EndpointAddr { ip, port: self.packet.destination_port }));
        Ok(Flow::Take(Verdict::Accept))
    }
}

/// The key in the registers from `sreg` on.
fn key_at(set: &Set, name: &Name, sreg: Reg, regs: &Registers) -> Result<Bytes, Reason> {
    let words: usize = set.def.key.iter().map(|f| field_words(*f)).sum();
    Bytes::from_wire(&regs.load(sreg, words * 4)?).ok_or_else(|| Reason::WrongValue(name.clone()))
}

/// The element a key is in: itself, or an interval that holds each of its fields.
fn find<'a>(set: &'a Set, key: &Bytes) -> Option<(&'a Bytes, &'a Element)> {
    if !set.def.interval {
        return set.elements.get_key_value(key);
    }
    set.elements.iter().find(|(low, element)| match &element.value {
        Value::Until(high) => is_between(set, low, key, high),
        _ => *low == key,
    })
}

fn is_between(set: &Set, low: &Bytes, key: &Bytes, high: &Bytes) -> bool {
    let fields = &set.def.key;
    let (Some(low), Some(key), Some(high)) =
        (split_fields(fields, low), split_fields(fields, key), split_fields(fields, high))
    else {
        return false;
    };
    low.iter().zip(&key).zip(&high).all(|((low, key), high)| low.1 <= key.1 && key.1 <= high.1)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|octets| Ipv4Addr::from(octets).into());
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|octets| Ipv6Addr::from(octets).into())).ok()
}
