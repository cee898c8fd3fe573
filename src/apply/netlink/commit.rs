//! Committing: a batch, its answer, and errors that name what they are about.

use super::batch::{Batch, Options};
use super::errno;
use super::socket::{Failure, Refusal, Socket};
use crate::apply::target::{CommitError, Outcome, Receipt, Remedy};
use crate::apply::transaction::{Op, Transaction};
use crate::compile::bytes::Bytes;
use crate::compile::ruleset::{DataType, Name, SetDef};
use crate::model::Family;

/// Sends a transaction; if it is refused and touches both families, each alone.
pub(super) fn commit(socket: &mut Socket, tx: &Transaction, options: Options) -> Receipt {
    let touched: Vec<Family> = tx.touched().collect();
    let mut receipt = Receipt::default();
    let refused = match send(socket, tx, &touched, options, &mut receipt.bytes) {
        Ok(sent) => {
            receipt.batches += u32::from(sent);
            return receipt;
        }
        Err(refused) => refused,
    };
    let each_alone = touched.len() > 1 && refused.is_of_content;
    for family in touched {
        let outcome = match each_alone {
            true => send(socket, tx, &[family], options, &mut receipt.bytes).map_err(|refused| refused.error),
            false => Err(refused.error.clone()),
        };
        receipt.batches += u32::from(outcome == Ok(true));
        *receipt.families.get_mut(family) = outcome.map_or_else(Outcome::Failed, |_| Outcome::Done);
    }
    receipt
}

/// Why a batch failed, and whether because of an operation in it.
struct Refused {
    error: CommitError,
    is_of_content: bool,
}

/// Sends some families of a transaction as one batch. Says whether there was anything to send.
fn send(
    socket: &mut Socket,
    tx: &Transaction,
    families: &[Family],
    options: Options,
    sent: &mut usize,
) -> Result<bool, Refused> {
    let batch = Batch::encode(tx, families, socket.seq(), options);
    let Some(acked_seq) = batch.acked_seq() else { return Ok(false) };
    *sent += batch.bytes().len();
    match socket.transact(batch.bytes(), acked_seq, batch.last_seq()) {
        Ok(()) => Ok(true),
        Err(Failure::Trouble(error)) => {
            // Too long together may be short enough alone; anything else says nothing about what is in the batch.
            let is_of_content = error.errno == Some(rustix::io::Errno::MSGSIZE.raw_os_error());
            Err(Refused { error, is_of_content })
        }
        Err(Failure::Refused(refusals)) => Err(explain(tx, &batch, &refusals)),
    }
}

/// Sends a batch that was encoded before.
pub(super) fn send_encoded(socket: &mut Socket, batch: &Batch) -> Result<(), CommitError> {
    let Some(acked_seq) = batch.acked_seq() else { return Ok(()) };
    socket.transact(batch.bytes(), acked_seq, batch.last_seq()).map_err(|failure| match failure {
        Failure::Trouble(error) => error,
        Failure::Refused(_) => unexplained(),
    })
}

/// The first refusal in the order of the operations, in words.
fn explain(tx: &Transaction, batch: &Batch, refusals: &[Refusal]) -> Refused {
    let found = refusals.iter().find_map(|refusal| Some((refusal, batch.op_of(refusal.seq)?)));
    let (refusal, place) = match (found, refusals.first()) {
        (Some((refusal, place)), _) => (refusal, Some(place)),
        (None, Some(refusal)) => (refusal, None),
        (None, None) => return Refused { error: unexplained(), is_of_content: false },
    };
    let op = place.and_then(|(family, at)| Some((family, tx.families.get(family).get(at)?)));
    let what = op.map_or_else(|| "the whole batch".to_owned(), |(family, op)| describe(family, op));
    let element = op.and_then(|(_, op)| refused_element(batch, op, refusal));
    let mut message = format!("{what}: {}", errno::words(refusal.errno));
    if let Some((_, key)) = &element {
        message += &format!("; the element with the key {}", hex(key.as_slice()));
    }
    if let Some(words) = &refusal.words {
        message += &format!("; the kernel says: {words}");
    }
    if refusals.len() > 1 {
        message += &format!("; {} more errors", refusals.len() - 1);
    }
    let remedy = errno::remedy(refusal.errno);
    let is_of_content = op.is_some() && remedy != Remedy::Retry;
    Refused { error: CommitError { remedy, errno: Some(refusal.errno), message, element }, is_of_content }
}

fn unexplained() -> CommitError {
    super::socket::trouble(None, Remedy::Resync, "the kernel refused the batch without an error".to_owned())
}

fn refused_element(batch: &Batch, op: &Op, refusal: &Refusal) -> Option<(Name, Bytes)> {
    let (Op::AddElements(name, def, elements) | Op::DeleteElements(name, def, elements)) = op else { return None };
    let key = batch.element_at(refusal.seq, refusal.offset?, def)?;
    elements.contains_key(&key).then(|| (name.clone(), key))
}

fn describe(family: Family, op: &Op) -> String {
    let table = family.nft();
    match op {
        Op::AddTable => format!("{table}: making the table"),
        Op::DeleteTable => format!("{table}: removing the table"),
        Op::AddSet(name, def) => format!("{table}: making {} {name}", noun(def)),
        Op::DeleteSet(name, def) => format!("{table}: removing {} {name}", noun(def)),
        Op::AddChain(name, _) => format!("{table}: making chain {name}"),
        Op::DeleteChain(name) => format!("{table}: removing chain {name}"),
        Op::FlushChain(name) => format!("{table}: emptying chain {name}"),
        Op::AddRule(name, rule) => match rule.comment {
            Some(comment) => format!("{table}: adding the rule \"{comment}\" to chain {name}"),
            None => format!("{table}: adding a rule to chain {name} ({:?})", rule.stmts),
        },
        Op::DeleteElements(name, def, e) => format!("{table}: removing {} of {} {name}", elements(e.len()), noun(def)),
        Op::AddElements(name, def, e) => format!("{table}: adding {} to {} {name}", elements(e.len()), noun(def)),
    }
}

fn elements(count: usize) -> String {
    if count == 1 { "an element".to_owned() } else { format!("{count} elements") }
}

fn noun(def: &SetDef) -> &'static str {
    if def.data == DataType::None { "set" } else { "map" }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
