//! What load balancers are told on the `healthCheckNodePort`s.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Family, ObjectName, PerFamily};

/// What one Service's `healthCheckNodePort` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceHealth {
    /// The port (host order).
    pub port: u16,
    /// How many different addresses of ready endpoints on this node the Service has in the family; `None` where the Service has not got
    /// the family, and no server.
    pub local_endpoints: PerFamily<Option<usize>>,
}

/// The health check servers wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthChecks {
    /// Where they listen: the addresses node ports answer on; the unspecified address means all.
    pub addresses: BTreeSet<IpAddr>,
    /// The Services that have one.
    pub services: BTreeMap<ObjectName, ServiceHealth>,
}

impl HealthChecks {
    /// What of this may still be said while `next` is brought into force: nothing of a Service that goes or moves, and no endpoints
    /// that go.
    pub fn while_becoming(&self, next: &HealthChecks) -> HealthChecks {
        let kept = |(name, old): (&ObjectName, &ServiceHealth)| {
            let new = next.services.get(name).filter(|new| new.port == old.port)?;
            let fewer = |family: Family| {
                let (old, new) = (*old.local_endpoints.get(family), *new.local_endpoints.get(family));
                old.zip(new).map(|(old, new)| old.min(new))
            };
            Some((name.clone(), ServiceHealth { port: old.port, local_endpoints: PerFamily::from_fn(fewer) }))
        };
        HealthChecks {
            addresses: self.addresses.intersection(&next.addresses).copied().collect(),
            services: self.services.iter().filter_map(kept).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(services: &[(&str, u16, Option<usize>, Option<usize>)]) -> HealthChecks {
        let of = |(name, port, v4, v6): &(&str, u16, Option<usize>, Option<usize>)| {
            let local_endpoints = PerFamily { v4: *v4, v6: *v6 };
            (ObjectName::new("default", *name), ServiceHealth { port: *port, local_endpoints })
        };
        HealthChecks { addresses: [[0u8; 4].into()].into(), services: services.iter().map(of).collect() }
    }

    #[test]
    fn what_goes_is_withdrawn_at_once_and_what_comes_waits() {
        let old = checks(&[("gone", 1, Some(1), None), ("moved", 2, Some(1), None), ("same", 3, Some(2), Some(1))]);
        let new = checks(&[("come", 1, Some(1), None), ("moved", 4, Some(1), None), ("same", 3, Some(5), None)]);
        assert_eq!(old.while_becoming(&new), checks(&[("same", 3, Some(2), None)]));
        let fewer = checks(&[("same", 3, Some(0), Some(4))]);
        assert_eq!(old.while_becoming(&fewer), checks(&[("same", 3, Some(0), Some(1))]));
    }

    #[test]
    fn addresses_that_go_are_left_at_once() {
        let old = HealthChecks { addresses: [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()].into(), ..checks(&[]) };
        let new = HealthChecks { addresses: [[192, 0, 2, 2].into(), [192, 0, 2, 3].into()].into(), ..checks(&[]) };
        assert_eq!(old.while_becoming(&new).addresses, [IpAddr::from([192, 0, 2, 2])].into());
    }
}
