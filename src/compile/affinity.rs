//! Session affinity: the numbers that stand for service ports and endpoints in a packet's `meta priority` while it passes our chains.
//!
//! A number has three parts: bit 31 (so that ours are told from priorities of others), 16 bits for the service port, 15 bits for the
//! endpoint. A map learns client . service port -> number; a second one says which endpoint of a frontend has the number. A number
//! whose endpoint is gone, or is not among those a packet may use, is in no such map, so it leads nowhere.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{EndpointAddr, Family, PerFamily};

/// Every number has this bit.
pub const OURS: u32 = 1 << 31;
/// The bits of a number that name the service port, [`OURS`] included.
pub const SERVICE_BITS: u32 = !ENDPOINT_BITS;

const ENDPOINT_BITS: u32 = 0x7fff;
const ENDPOINT_WIDTH: u32 = ENDPOINT_BITS.count_ones();
/// The most endpoints of a service port that can be told apart. Number 0 stands for none.
pub const MAX_ENDPOINTS: usize = ENDPOINT_BITS as usize;

/// The most clients a family's map remembers, each once for every service port. When it is full, newcomers are balanced at random
/// with every connection until others have timed out.
pub const MAX_CLIENTS: u32 = 1 << 18;

/// Kubernetes' default timeout, which the map has too for readers' sake: every rule gives its own.
pub(super) const DEFAULT_TIMEOUT_MS: u64 = 10_800_000;

/// The numbers of one sticky service port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers {
    service: u16,
    endpoints: BTreeMap<EndpointAddr, u16>,
    /// The number given last: a number comes up again as late as can be, for clients may still be remembered under it.
    last: u16,
}

impl Numbers {
    /// A service port without endpoints.
    pub fn new(service: u16) -> Numbers {
        Numbers { service, endpoints: BTreeMap::new(), last: 0 }
    }

    /// From whole numbers in force; `None` if they are not all of one service port.
    pub fn from_force(numbers: &BTreeMap<EndpointAddr, u32>) -> Option<Numbers> {
        let service = service_of(*numbers.values().next()?)?;
        let same = numbers.values().all(|number| service_of(*number) == Some(service));
        let endpoints: BTreeMap<EndpointAddr, u16> =
            numbers.iter().map(|(addr, number)| (*addr, (number & ENDPOINT_BITS) as u16)).collect();
        let last = endpoints.values().copied().max().unwrap_or(0);
        same.then_some(Numbers { service, endpoints, last })
    }

    /// The service port's part.
    pub fn service(&self) -> u16 {
        self.service
    }

    /// An endpoint's number.
    pub fn of(&self, endpoint: EndpointAddr) -> Option<u32> {
        let own = *self.endpoints.get(&endpoint)?;
        Some(OURS | u32::from(self.service) << ENDPOINT_WIDTH | u32::from(own))
    }

    /// The same service port with these endpoints: who stays keeps its number. `None` when there are more than [`MAX_ENDPOINTS`].
    pub fn renumbered(mut self, wanted: &BTreeSet<EndpointAddr>) -> Option<Numbers> {
        if wanted.len() > MAX_ENDPOINTS {
            return None;
        }
        self.endpoints.retain(|addr, _| wanted.contains(addr));
        let mut taken: BTreeSet<u16> = self.endpoints.values().copied().collect();
        for addr in wanted {
            if !self.endpoints.contains_key(addr) {
                self.last = next_free(self.last, ENDPOINT_BITS as u16, &taken);
                taken.insert(self.last);
                self.endpoints.insert(*addr, self.last);
            }
        }
        Some(self)
    }
}

/// The service port's part of a number; `None` if it is none of ours.
fn service_of(number: u32) -> Option<u16> {
    (number & OURS != 0).then_some((number >> ENDPOINT_WIDTH) as u16)
}

/// The first free number after `last`, in a ring of 1..=max. There must be one.
fn next_free(last: u16, max: u16, taken: &BTreeSet<u16>) -> u16 {
    let after = (last..max).map(|n| n + 1);
    after.chain(1..=last).find(|n| !taken.contains(n)).unwrap_or(max)
}

/// Which service numbers are in use in each family.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceNumbers {
    taken: PerFamily<BTreeSet<u16>>,
    last: PerFamily<u16>,
}

impl ServiceNumbers {
    /// Takes this number, or another if it is in use; `None` when all are.
    pub(super) fn take(&mut self, family: Family, wanted: Option<u16>) -> Option<u16> {
        let taken = self.taken.get_mut(family);
        let free = wanted.filter(|number| !taken.contains(number));
        if free.is_none() && taken.len() >= usize::from(u16::MAX) {
            return None;
        }
        let number = free.unwrap_or_else(|| next_free(*self.last.get(family), u16::MAX, taken));
        taken.insert(number);
        if free.is_none() {
            *self.last.get_mut(family) = number;
        }
        Some(number)
    }

    /// Gives a number back.
    pub(super) fn give_back(&mut self, family: Family, number: u16) {
        self.taken.get_mut(family).remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(ns: impl IntoIterator<Item = u16>) -> BTreeSet<EndpointAddr> {
        ns.into_iter().map(|port| EndpointAddr { ip: [10, 0, 0, 1].into(), port }).collect()
    }

    fn addr(port: u16) -> EndpointAddr {
        EndpointAddr { ip: [10, 0, 0, 1].into(), port }
    }

    #[test]
    fn who_stays_keeps_its_number_and_a_freed_one_comes_up_late() {
        let first = Numbers::new(7).renumbered(&addrs([1, 2, 3])).unwrap();
        assert_eq!(first.of(addr(1)), Some(0x8003_8001));
        let second = first.clone().renumbered(&addrs([1, 3])).unwrap();
        let third = second.renumbered(&addrs([1, 3, 4])).unwrap();
        assert_eq!((third.of(addr(1)), third.of(addr(3))), (first.of(addr(1)), first.of(addr(3))));
        assert_eq!(third.of(addr(4)), Some(0x8003_8004), "not the number of 2, whose clients may still be remembered");
    }

    #[test]
    fn numbers_in_force_are_taken_over() {
        let numbers = Numbers::new(7).renumbered(&addrs([1, 2])).unwrap();
        let force = [1, 2].map(|port| (addr(port), numbers.of(addr(port)).unwrap()));
        assert_eq!(Numbers::from_force(&force.into()), Some(numbers));
        assert_eq!(Numbers::from_force(&[(addr(1), 5)].into()), None, "not one of ours");
        assert_eq!(Numbers::from_force(&[(addr(1), OURS | 1), (addr(2), OURS | 1 << 15)].into()), None);
    }

    #[test]
    fn there_is_an_end_to_numbers() {
        assert!(Numbers::new(1).renumbered(&addrs(0..MAX_ENDPOINTS as u16)).is_some());
        assert_eq!(Numbers::new(1).renumbered(&addrs(0..=MAX_ENDPOINTS as u16)), None);
        let mut services = ServiceNumbers::default();
        for _ in 0..u16::MAX {
            assert!(services.take(Family::V4, None).is_some());
        }
        assert_eq!(services.take(Family::V4, Some(9)), None);
        services.give_back(Family::V4, 9);
        assert_eq!(services.take(Family::V4, None), Some(9));
        assert_eq!(services.take(Family::V6, Some(9)), Some(9), "each family counts for itself");
    }
}
