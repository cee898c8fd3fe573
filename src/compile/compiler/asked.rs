//! What the compiler is asked about what it has taken.

use super::Compiler;
use crate::compile::bytes::Bytes;
use crate::compile::claims::Frontend;
use crate::compile::emission::{Emission, Placed};
use crate::compile::layout::SetId;
use crate::model::{Family, ObjectName};
use crate::policy::PortRoutes;

impl Compiler {
    /// How many services contribute.
    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    /// The routes of a service as they were taken last, its endpoints in the order of their slots; none for a service that is not there.
    pub fn routes_of(&self, name: &ObjectName) -> Vec<PortRoutes> {
        let ports = self.services.get(name).map_or(&[][..], Vec::as_slice);
        let whole = |port: &Placed| PortRoutes {
            cluster: port.cluster.clone(),
            local: port.local.clone(),
            ..port.routes.clone()
        };
        ports.iter().map(whole).collect()
    }

    /// The service that owns a frontend.
    pub fn owner_of(&self, frontend: &Frontend) -> Option<&ObjectName> {
        self.claims.owner(frontend).map(|name| &name.service)
    }

    /// A service that wants this element; `None` when no service does. Shared elements may have several. Looks at every service: for
    /// when something has gone wrong.
    pub fn owner_of_element(&self, family: Family, set: &str, key: &Bytes) -> Option<&ObjectName> {
        let id = SetId::all().find(|id| id.text() == set)?;
        let place = (family, id, key.clone());
        let manners = self.settings.all_manners();
        let wants = |ports: &[Placed]| {
            let emission = Emission::of(ports, &manners);
            emission.elements.contains_key(&place) || emission.shared.contains(&place)
        };
        self.services.iter().find(|(_, ports)| wants(ports)).map(|(name, _)| name)
    }
}
