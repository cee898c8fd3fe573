//! What is odd about services, summed up as they change.

use std::collections::BTreeMap;

use super::plan::Routes;
use crate::model::{Family, HintsUnused, NoLocalEndpoints, ObjectName, PerFamily};
use crate::policy::{HintsIgnored, PortRoutes, Route};

/// What is odd about ports, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Odd {
    /// Their Local policy finds no local endpoint while there are others.
    pub(super) no_local: NoLocalEndpoints,
    /// Topology hints that are not used.
    pub(super) hints: HintsUnused,
}

impl Odd {
    /// Changes each count by the other's.
    fn each(&mut self, other: Odd, change: fn(&mut usize, usize)) {
        let Odd { no_local, hints } = other;
        change(&mut self.no_local.internal, no_local.internal);
        change(&mut self.no_local.external, no_local.external);
        change(&mut self.hints.incomplete, hints.incomplete);
        change(&mut self.hints.no_zone, hints.no_zone);
        change(&mut self.hints.not_for_us, hints.not_for_us);
    }
}

/// The odd services and their sum: what a change costs does not follow how many there are.
#[derive(Debug, Default)]
pub(super) struct Oddities {
    services: BTreeMap<ObjectName, PerFamily<Odd>>,
    sum: PerFamily<Odd>,
}

impl Oddities {
    /// What is odd over all services.
    pub(super) fn sum(&self) -> PerFamily<Odd> {
        self.sum
    }

    /// Counts anew what is odd about these services.
    pub(super) fn recount(&mut self, routes: &Routes) {
        for (name, ports) in routes {
            let now = count(ports);
            let before = match now == PerFamily::default() {
                true => self.services.remove(name),
                false => self.services.insert(name.clone(), now),
            };
            for family in Family::ALL {
                let sum = self.sum.get_mut(family);
                // Added first: the sum never goes below nothing.
                sum.each(*now.get(family), |sum, more| *sum += more);
                before.iter().for_each(|before| sum.each(*before.get(family), |sum, less| *sum -= less));
            }
        }
    }
}

/// Counts what is odd about a service's ports.
fn count(ports: &[PortRoutes]) -> PerFamily<Odd> {
    let mut counts = PerFamily::<Odd>::default();
    for port in ports {
        let Odd { no_local, hints } = counts.get_mut(port.family);
        no_local.internal += usize::from(port.internal == Route::Drop);
        no_local.external += usize::from(port.external == Route::Drop && port.is_external());
        match port.hints_ignored {
            Some(HintsIgnored::Incomplete) => hints.incomplete += 1,
            Some(HintsIgnored::NoZone) => hints.no_zone += 1,
            Some(HintsIgnored::NotForUs) => hints.not_for_us += 1,
            Some(HintsIgnored::None) | None => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests;
