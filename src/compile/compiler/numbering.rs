//! Which numbers the endpoints of sticky service ports have.

use super::super::affinity::{MAX_ENDPOINTS, Numbers};
use super::super::emission::{Placed, comment};
use super::{Compiler, same_port};
use crate::model::{ObjectKind, Rejection};
use crate::policy::PortRoutes;

impl Compiler {
    /// Gives the endpoints of sticky ports their numbers: as before, else as an earlier process had them.
    pub(super) fn number(&mut self, old: &[Placed], new: &mut [Placed], rejections: &mut Vec<Rejection>) {
        for port in old {
            let stays = same_port(new, &port.routes).is_some_and(|p| p.routes.affinity.is_some());
            if let (Some(numbers), false) = (&port.numbers, stays) {
                self.numbers.give_back(port.routes.family, numbers.service());
            }
        }
        for port in new.iter_mut().filter(|port| port.routes.affinity.is_some()) {
            let family = port.routes.family;
            let before = same_port(old, &port.routes).and_then(|p| p.numbers.clone());
            let Some(numbers) = before.or_else(|| self.first_numbers(&port.routes)) else {
                rejections.push(not_sticky(port, "every number for sticky service ports is in use"));
                continue;
            };
            let (service, wanted) = (numbers.service(), port.cluster.iter().chain(&port.local).copied().collect());
            port.numbers = numbers.renumbered(&wanted);
            if port.numbers.is_none() {
                self.numbers.give_back(family, service);
                rejections.push(not_sticky(port, &format!("it has more than {MAX_ENDPOINTS} endpoints")));
            }
        }
    }

    fn first_numbers(&mut self, routes: &PortRoutes) -> Option<Numbers> {
        let comment = comment(&routes.name.to_string());
        let seeded = Placed::frontends(routes).iter().find_map(|frontend| self.seed.numbers(frontend, &comment));
        let service = self.numbers.take(routes.family, seeded.as_ref().map(Numbers::service))?;
        Some(seeded.filter(|numbers| numbers.service() == service).unwrap_or_else(|| Numbers::new(service)))
    }
}

fn not_sticky(port: &Placed, why: &str) -> Rejection {
    let name = &port.routes.name;
    Rejection {
        kind: ObjectKind::Service,
        object: name.service.to_string(),
        field: "spec.sessionAffinity".to_owned(),
        reason: format!("port {:?} is balanced without it: {why}", &*name.port),
    }
}
