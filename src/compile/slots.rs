//! Slots: the numbers under which a frontend's endpoints stand in an endpoint map, dense and stable.

use crate::model::EndpointAddr;

/// Seats the wanted endpoints: who stays keeps its slot, a newcomer takes a leaver's, and what then is left empty is filled from the
/// end. So a rolling update changes data elements only, and never more of them than endpoints changed.
///
/// `wanted` holds each endpoint once.
pub fn settle(seated: &[EndpointAddr], wanted: &[EndpointAddr]) -> Vec<EndpointAddr> {
    let mut sorted = wanted.to_vec();
    sorted.sort_unstable();
    let mut stays = vec![false; sorted.len()];
    let mut keeps = |addr: &EndpointAddr| {
        let place = sorted.binary_search(addr).ok().filter(|place| !stays[*place]);
        place.map(|place| stays[place] = true).map(|()| *addr)
    };
    let mut slots: Vec<Option<EndpointAddr>> = seated.iter().map(&mut keeps).collect();
    let is_new = |addr: &&EndpointAddr| sorted.binary_search(addr).is_ok_and(|place| !stays[place]);
    let mut newcomers = wanted.iter().filter(is_new).copied();
    for slot in slots.iter_mut().filter(|slot| slot.is_none()) {
        *slot = newcomers.next();
    }
    slots.extend(newcomers.map(Some));
    close_gaps(slots)
}

/// Fills each gap with the last one seated.
fn close_gaps(mut slots: Vec<Option<EndpointAddr>>) -> Vec<EndpointAddr> {
    let mut closed = Vec::with_capacity(slots.len());
    let mut next = 0;
    while next < slots.len() {
        let seat = match slots[next] {
            Some(addr) => Some(addr),
            None => pop_last(&mut slots, next),
        };
        closed.extend(seat);
        next += 1;
    }
    closed
}

fn pop_last(slots: &mut Vec<Option<EndpointAddr>>, above: usize) -> Option<EndpointAddr> {
    while slots.len() > above + 1 {
        if let Some(Some(addr)) = slots.pop() {
            return Some(addr);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addr(n: u8) -> EndpointAddr {
        EndpointAddr { ip: [10, 0, 0, n].into(), port: 80 }
    }

    fn addrs(ns: &[u8]) -> Vec<EndpointAddr> {
        ns.iter().copied().map(addr).collect()
    }

    #[test]
    fn a_newcomer_takes_the_leavers_slot() {
        assert_eq!(settle(&addrs(&[1, 2, 3]), &addrs(&[1, 3, 4])), addrs(&[1, 4, 3]));
    }

    #[test]
    fn the_last_one_fills_a_gap() {
        assert_eq!(settle(&addrs(&[1, 2, 3, 4]), &addrs(&[1, 3, 4])), addrs(&[1, 4, 3]));
        assert_eq!(settle(&addrs(&[1, 2, 3]), &addrs(&[3])), addrs(&[3]));
    }

    #[test]
    fn all_leave() {
        assert_eq!(settle(&addrs(&[1, 2]), &[]), Vec::new());
    }

    proptest! {
        #[test]
        fn everyone_wanted_has_one_slot_and_few_move(
            before in proptest::collection::btree_set(0u8..40, 0..20),
            after in proptest::collection::btree_set(0u8..40, 0..20),
        ) {
            let seated = addrs(&before.iter().copied().collect::<Vec<_>>());
            let wanted = addrs(&after.iter().copied().collect::<Vec<_>>());
            let slots = settle(&seated, &wanted);
            let mut sorted = slots.clone();
            sorted.sort();
            prop_assert_eq!(&sorted, &wanted);
            let gone = seated.iter().filter(|a| !wanted.contains(a)).count();
            let new = wanted.iter().filter(|a| !seated.contains(a)).count();
            let moved = slots.iter().zip(&seated).filter(|(now, then)| now != then).count();
            prop_assert!(moved <= gone.max(new), "{moved} slots changed for {gone} gone and {new} new");
        }
    }
}
