//! The counter of a set's element: no expression of a rule, but kept with each element.

use super::super::attr::{Writer, by_kind, str_of, u64_of};
use super::{EXPR_DATA, EXPR_NAME};

/// `NFTA_COUNTER_PACKETS`.
const PACKETS: usize = 2;

/// Writes a counter that starts at 0.
pub(in super::super) fn encode_counter(w: &mut Writer) {
    w.put_str(EXPR_NAME, "counter");
    w.nest(EXPR_DATA, |_| ());
}

/// Reads the packets counted; `None` if it is no counter.
pub(in super::super) fn decode_counter(expr: &[u8]) -> Option<u64> {
    let [_, name, data] = by_kind::<3>(expr);
    if str_of(name)? != "counter" {
        return None;
    }
    u64_of(by_kind::<3>(data?)[PACKETS])
}
