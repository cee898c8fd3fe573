//! A transaction as one netlink batch, and the way back from an answer to the operation it is about.

use std::collections::BTreeMap;

use super::attr::{Attrs, Writer, attrs};
use super::element::{self, LIST_ELEMENTS, LIST_SET, Purpose};
use super::message::{ACK, APPEND, CREATE, FLAGS_AT, HEADERS, Head, Kind, TABLE_ATTR, message, messages};
use super::table::{self, Wanted};
use super::{chain, set};
use crate::apply::transaction::{Op, Transaction};
use crate::compile::bytes::Bytes;
use crate::compile::ruleset::{Element, Name, SetDef, TABLE};
use crate::model::Family;

/// `NFNL_BATCH_GENID`.
const GENERATION: u16 = 1;

/// Where a list of elements ends and the next message begins: an attribute holds 65,535 bytes, one element far less than the rest.
const LIST_LIMIT: usize = 60_000;

/// About the bytes of one element or object, to reserve room.
const BYTES_EACH: usize = 128;

/// How a batch is sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    /// Refused (ERESTART) if the ruleset's generation is another by now.
    pub(super) generation: Option<u32>,
    /// Without the end the kernel validates the batch and discards it.
    pub(super) dry_run: bool,
    /// The flags of tables that are made; without, those of a table that exists stay.
    pub(super) flags: Option<Wanted>,
}

/// An encoded transaction.
#[derive(Debug)]
pub(super) struct Batch {
    w: Writer,
    /// The last message's number so far.
    seq: u32,
    /// Where the last message of an operation begins.
    last: Option<usize>,
    /// The number of each operation's first message.
    ops: Vec<(u32, Family, usize)>,
}

impl Batch {
    /// Encodes some families of a transaction; the first message gets the number after `seq`.
    pub(super) fn encode(tx: &Transaction, families: &[Family], seq: u32, options: Options) -> Batch {
        let w = Writer::with_capacity(BYTES_EACH * (tx.weight() + 8));
        let mut batch = Batch { w, seq, last: None, ops: Vec::new() };
        batch.limit(Kind::BATCH_BEGIN, options.generation);
        for family in families {
            for (at, op) in tx.families.get(*family).iter().enumerate() {
                batch.ops.push((batch.seq.wrapping_add(1), *family, at));
                let goes = matches!(tx.families.get(*family).get(at + 1), Some(Op::DeleteTable));
                match op {
                    // One that is made only to be removed may be there already, with flags that cannot be changed.
                    Op::AddTable => {
                        let flags = options.flags.filter(|_| !goes);
                        batch.add(Kind::NEW_TABLE, CREATE, *family, |w| table::encode(w, flags));
                    }
                    op => batch.op(*family, op),
                }
            }
        }
        batch.ask_for_ack();
        if !options.dry_run {
            batch.limit(Kind::BATCH_END, None);
        }
        batch
    }

    /// What is sent.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.w.bytes
    }

    /// The number of the last message.
    pub(super) fn last_seq(&self) -> u32 {
        self.seq
    }

    /// The number of the message whose ack means success; `None` if the batch does nothing.
    pub(super) fn acked_seq(&self) -> Option<u32> {
        messages(self.w.bytes.get(self.last?..)?).next().map(|m| m.seq)
    }

    /// The operation a message belongs to.
    pub(super) fn op_of(&self, seq: u32) -> Option<(Family, usize)> {
        let end = self.acked_seq()?;
        let first = self.ops.first()?.0;
        let distance = seq.wrapping_sub(first);
        if distance > end.wrapping_sub(first) {
            return None;
        }
        let at = self.ops.partition_point(|(start, ..)| start.wrapping_sub(first) <= distance);
        self.ops.get(at.checked_sub(1)?).map(|(_, family, op)| (*family, *op))
    }

    /// The key of the element at an offset of a message of elements.
    pub(super) fn element_at(&self, seq: u32, offset: usize, def: &SetDef) -> Option<Bytes> {
        let message = messages(&self.w.bytes).find(|m| m.seq == seq)?;
        let (_, body) = message.body()?;
        let (start, list) = containing(attrs(body), HEADERS, offset)?;
        let (_, element) = containing(attrs(list), start, offset)?;
        element::read_key(def, element)
    }

    fn ask_for_ack(&mut self) {
        if let Some(start) = self.last {
            let flags = start + FLAGS_AT..start + FLAGS_AT + 2;
            let asking = u16::from_ne_bytes([self.w.bytes[flags.start], self.w.bytes[flags.start + 1]]) | ACK;
            self.w.bytes[flags].copy_from_slice(&asking.to_ne_bytes());
        }
    }

    fn limit(&mut self, kind: Kind, generation: Option<u32>) {
        self.seq = self.seq.wrapping_add(1);
        message(&mut self.w, Head { kind, flags: 0, family: None, seq: self.seq }, |w| {
            if let Some(generation) = generation {
                w.put_u32(GENERATION, generation);
            }
        });
    }

    fn add(&mut self, kind: Kind, flags: u16, family: Family, fill: impl FnOnce(&mut Writer)) {
        self.seq = self.seq.wrapping_add(1);
        self.last = Some(self.w.bytes.len());
        message(&mut self.w, Head { kind, flags, family: Some(family), seq: self.seq }, fill);
    }

    fn op(&mut self, family: Family, op: &Op) {
        match op {
            Op::AddTable => self.add(Kind::NEW_TABLE, CREATE, family, |w| table::encode(w, None)),
            Op::DeleteTable => self.add(Kind::DEL_TABLE, 0, family, |w| w.put_str(1, TABLE)),
            Op::AddSet(name, def) => {
                let id = self.seq;
                self.add(Kind::NEW_SET, CREATE, family, |w| set::encode(w, name, def, id));
            }
            Op::DeleteSet(name, _) => self.add(Kind::DEL_SET, 0, family, |w| named(w, set::NAME, name)),
            Op::AddChain(name, hook) => self.add(Kind::NEW_CHAIN, CREATE, family, |w| chain::encode(w, name, *hook)),
            Op::DeleteChain(name) => self.add(Kind::DEL_CHAIN, 0, family, |w| named(w, chain::NAME, name)),
            Op::FlushChain(name) => self.add(Kind::DEL_RULE, 0, family, |w| named(w, chain::RULE_CHAIN, name)),
            Op::AddRule(name, rule) => {
                self.add(Kind::NEW_RULE, CREATE | APPEND, family, |w| chain::encode_rule(w, name, rule, family))
            }
            Op::AddElements(name, def, elements) => self.elements(family, Purpose::Add, name, def, elements),
            Op::DeleteElements(name, def, elements) => self.elements(family, Purpose::Delete, name, def, elements),
        }
    }

    fn elements(
        &mut self,
        family: Family,
        purpose: Purpose,
        name: &Name,
        def: &SetDef,
        elements: &BTreeMap<Bytes, Element>,
    ) {
        let (kind, flags) = match purpose {
            Purpose::Add => (Kind::NEW_ELEMENTS, CREATE),
            Purpose::Delete => (Kind::DEL_ELEMENTS, 0),
        };
        let mut rest = elements.iter().peekable();
        while rest.peek().is_some() {
            self.add(kind, flags, family, |w| {
                named(w, LIST_SET, name);
                let start = w.open(LIST_ELEMENTS);
                let limit = start + LIST_LIMIT;
                while let Some((key, element)) = rest.next_if(|_| w.bytes.len() < limit) {
                    element::encode(w, def, key, element, purpose);
                }
                w.close(start);
            });
        }
    }
}

fn named(w: &mut Writer, kind: u16, name: &Name) {
    w.put_str(TABLE_ATTR, TABLE);
    w.put_str(kind, name.as_str());
}

/// The attribute that begins at or holds `offset`, and where its value begins; `base` is where the attributes begin.
fn containing(mut attrs: Attrs<'_>, base: usize, offset: usize) -> Option<(usize, &[u8])> {
    loop {
        let start = base + attrs.position();
        let (_, value) = attrs.next()?;
        if offset < base + attrs.position() {
            return (offset >= start).then_some((start + super::attr::HEADER, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::ruleset::{DataType, Field, Value};
    use crate::model::PerFamily;

    fn port_set() -> SetDef {
        let key = vec![Field::L4Proto, Field::Dport];
        SetDef { key, data: DataType::None, interval: false, size: Some(100_000), learned: None, counted: false }
    }

    fn key(n: u16) -> Bytes {
        Bytes::new().proto(crate::model::Protocol::Tcp).port(n)
    }

    fn many(count: u16) -> BTreeMap<Bytes, Element> {
        (0..count).map(|n| (key(n), Element { value: Value::Present, comment: None })).collect()
    }

    fn transaction(count: u16) -> Transaction {
        let ops = vec![
            Op::AddTable,
            Op::AddSet("s".into(), port_set()),
            Op::AddElements("s".into(), port_set(), many(count).into()),
        ];
        Transaction { families: PerFamily { v4: ops, v6: vec![Op::AddTable] } }
    }

    #[test]
    fn only_the_last_real_message_asks_for_an_ack() {
        let batch = Batch::encode(&transaction(5), &Family::ALL, 10, Options::default());
        let acks: Vec<_> = messages(&batch.w.bytes).map(|m| m.flags & ACK != 0).collect();
        assert_eq!(acks, [false, false, false, false, true, false]);
        assert_eq!((batch.acked_seq(), batch.last_seq()), (Some(15), 16));
    }

    #[test]
    fn a_dry_run_has_no_end() {
        let kinds = |dry_run| {
            let batch = Batch::encode(&transaction(0), &[Family::V6], 0, Options { dry_run, ..Options::default() });
            messages(&batch.w.bytes).map(|m| m.kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(true), [0x10, 0xa00]);
        assert_eq!(kinds(false), [0x10, 0xa00, 0x11]);
    }

    #[test]
    fn a_transaction_that_does_nothing_has_nothing_to_ack() {
        let batch = Batch::encode(&Transaction::default(), &Family::ALL, 0, Options::default());
        assert_eq!(batch.acked_seq(), None);
    }

    #[test]
    fn long_lists_are_split_into_messages_that_fit() {
        let batch = Batch::encode(&transaction(10_000), &[Family::V4], 0, Options::default());
        let lists: Vec<usize> = messages(&batch.w.bytes)
            .filter(|m| m.kind == Kind::NEW_ELEMENTS.number())
            .map(|m| attrs(m.body().unwrap().1).last().unwrap().1.len())
            .collect();
        assert!(lists.len() > 1 && lists.iter().all(|len| len + 4 <= usize::from(u16::MAX)), "{lists:?}");
        let elements: usize = messages(&batch.w.bytes)
            .filter(|m| m.kind == Kind::NEW_ELEMENTS.number())
            .map(|m| attrs(attrs(m.body().unwrap().1).last().unwrap().1).count())
            .sum();
        assert_eq!(elements, 10_000);
    }

    #[test]
    fn an_answer_leads_to_its_operation_even_when_numbers_wrap() {
        for seq in [0, u32::MAX - 3] {
            let batch = Batch::encode(&transaction(5_000), &Family::ALL, seq, Options::default());
            let of = |n: u32| batch.op_of(seq.wrapping_add(n));
            assert_eq!(of(1), None, "the beginning of the batch is no operation");
            assert_eq!(of(2), Some((Family::V4, 0)));
            assert_eq!((of(4), of(5)), (Some((Family::V4, 2)), Some((Family::V4, 2))));
            assert_eq!(batch.op_of(batch.acked_seq().unwrap()), Some((Family::V6, 0)));
            assert_eq!(batch.op_of(batch.last_seq()), None, "the end of the batch is no operation");
        }
    }

    #[test]
    fn an_offset_leads_to_its_element() {
        let batch = Batch::encode(&transaction(5), &[Family::V4], 0, Options::default());
        let list = messages(&batch.w.bytes).find(|m| m.kind == Kind::NEW_ELEMENTS.number()).unwrap();
        let in_list = list.payload.len() + 16 - 5 * 20;
        assert_eq!(batch.element_at(list.seq, in_list + 2 * 20, &port_set()), Some(key(2)));
        assert_eq!(batch.element_at(list.seq, 60_000, &port_set()), None);
    }
}
