//! Who owns a frontend: of two service ports that claim one, the older wins, and the other takes over when it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;

use super::bytes::Bytes;
use super::layout::Reach;
use crate::model::{Family, ObjectKind, ObjectName, Protocol, Rejection, ServicePortName};

/// What a client connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    /// The family.
    pub family: Family,
    /// The address; `None` for a node port.
    pub ip: Option<IpAddr>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port (host order).
    pub port: u16,
}

impl Frontend {
    /// By what it is reached.
    pub fn reach(&self) -> Reach {
        match self.ip {
            Some(_) => Reach::Address,
            None => Reach::NodePort,
        }
    }

    /// Its key in `services` or `nodeports`.
    pub fn key(&self) -> Bytes {
        let start = match self.ip {
            Some(ip) => Bytes::new().addr(ip),
            None => Bytes::new(),
        };
        start.proto(self.protocol).port(self.port)
    }
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => write!(f, "{}/{}", std::net::SocketAddr::new(ip, self.port), self.protocol),
            None => write!(f, "{} node port {}/{}", self.family, self.port, self.protocol),
        }
    }
}

/// One who claims: ordered by age, then by name. Without a creation time (manifests) it counts as youngest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claimant {
    undated: bool,
    created: Option<Timestamp>,
    /// The service port.
    pub name: ServicePortName,
}

impl Claimant {
    /// A claimant of that age and name.
    pub fn new(created: Option<Timestamp>, name: ServicePortName) -> Claimant {
        Claimant { undated: created.is_none(), created, name }
    }
}

/// All claims. The first in order owns the frontend.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    owners: BTreeMap<Frontend, Claimant>,
    waiting: BTreeMap<Frontend, BTreeSet<Claimant>>,
}

impl Claims {
    /// Who owns a frontend.
    pub fn owner(&self, frontend: &Frontend) -> Option<&ServicePortName> {
        self.owners.get(frontend).map(|claimant| &claimant.name)
    }

    /// Moves a service's claims from the old ones to the new ones. Answers the services that won or lost a frontend by it.
    pub(super) fn exchange(
        &mut self,
        before: &BTreeSet<(Frontend, Claimant)>,
        after: &BTreeSet<(Frontend, Claimant)>,
    ) -> BTreeSet<ObjectName> {
        let heirs: Vec<_> =
            before.difference(after).filter_map(|(frontend, who)| self.withdraw(*frontend, who)).collect();
        let losers: Vec<_> =
            after.difference(before).filter_map(|(frontend, who)| self.enter(*frontend, who.clone())).collect();
        heirs.into_iter().chain(losers).map(|name| name.service).collect()
    }

    /// What is told of a frontend that a service port claims and another has.
    pub(super) fn rejection(&self, frontend: &Frontend, loser: &ServicePortName) -> Rejection {
        Rejection {
            kind: ObjectKind::Service,
            object: loser.service.to_string(),
            field: frontend.to_string(),
            reason: match self.owner(frontend) {
                Some(owner) => format!("already taken by the older {owner}; it is left to it until it goes"),
                None => "claimed by nobody".to_owned(),
            },
        }
    }

    /// Enters a claim. Answers who lost the frontend by it.
    pub fn enter(&mut self, frontend: Frontend, claimant: Claimant) -> Option<ServicePortName> {
        match self.owners.get_mut(&frontend) {
            None => {
                self.owners.insert(frontend, claimant);
                None
            }
            Some(owner) if *owner == claimant => None,
            Some(owner) if *owner < claimant => {
                self.waiting.entry(frontend).or_default().insert(claimant);
                None
            }
            Some(owner) => {
                let lost = std::mem::replace(owner, claimant);
                let name = lost.name.clone();
                self.waiting.entry(frontend).or_default().insert(lost);
                Some(name)
            }
        }
    }

    /// Gives back the room that growth has left unused.
    pub fn pack(&mut self) {
        self.owners = std::mem::take(&mut self.owners).into_iter().collect();
    }

    /// Withdraws a claim. Answers who takes over.
    pub fn withdraw(&mut self, frontend: Frontend, claimant: &Claimant) -> Option<ServicePortName> {
        let mut waiting = self.waiting.remove(&frontend).unwrap_or_default();
        let heir = match self.owners.get(&frontend) == Some(claimant) {
            true => {
                self.owners.remove(&frontend);
                waiting.pop_first()
            }
            false => {
                waiting.remove(claimant);
                None
            }
        };
        if !waiting.is_empty() {
            self.waiting.insert(frontend, waiting);
        }
        heir.map(|heir| {
            let name = heir.name.clone();
            self.owners.insert(frontend, heir);
            name
        })
    }
}
