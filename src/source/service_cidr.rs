//! ServiceCIDRs.

use ipnet::IpNet;
use serde::Deserialize;

use crate::model::{Change, Event, ObjectKind, ServiceCidr};

use super::findings::Findings;
use super::intern::Interner;
use super::kind::{Kind, Origin, Parsed};
use super::lenient::Lenient;
use super::meta::{META, Meta, slim_resource};
use super::protobuf::{Form, Shape, many, one};
use super::text::Text;

/// A ServiceCIDR, slim.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SlimServiceCidr {
    metadata: Meta,
    spec: Lenient<Spec>,
}

slim_resource!(SlimServiceCidr, k8s_openapi::api::networking::v1::ServiceCIDR);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    cidrs: Lenient<Vec<Lenient<Text<IpNet>>>>,
}

static SHAPE: Shape = Shape(&[one(1, "metadata", Form::Object(&META)), one(2, "spec", Form::Object(&SPEC))]);
static SPEC: Shape = Shape(&[many(1, "cidrs", Form::Text)]);

impl Kind for SlimServiceCidr {
    type Name = String;
    type Model = ServiceCidr;
    const KIND: ObjectKind = ObjectKind::ServiceCidr;
    const SHAPE: &'static Shape = &SHAPE;

    fn name(&self) -> String {
        self.metadata.plain_name().to_owned()
    }

    fn into_model(mut self, _origin: Origin, _names: &mut Interner) -> Parsed<String, ServiceCidr> {
        let name = self.name();
        let mut out = Findings::new(Self::KIND, &name);
        let model = self.metadata.check(&mut out).then(|| {
            let spec = out.take(self.spec, "spec", "it is taken as empty").unwrap_or_default();
            let cidrs = out.items(spec.cidrs, "spec.cidrs", "this network is left out");
            ServiceCidr { name: name.clone(), cidrs: cidrs.into_iter().map(|(_, Text(net))| net).collect() }
        });
        let rejections = out.done();
        Parsed { name, model, rejections }
    }

    fn event(change: Change<String, ServiceCidr>) -> Event {
        Event::ServiceCidr(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_bad_ones_named() {
        let json = serde_json::json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/12", "10.96.0.0", "fd00::/112"]}});
        let slim: SlimServiceCidr = serde_json::from_value(json).unwrap();
        let parsed = slim.into_model(Origin::Api, &mut Interner::default());
        let cidrs = vec!["10.96.0.0/12".parse().unwrap(), "fd00::/112".parse().unwrap()];
        assert_eq!(parsed.model, Some(ServiceCidr { name: "kubernetes".into(), cidrs }));
        assert_eq!(parsed.rejections.len(), 1);
        assert_eq!(parsed.rejections[0].field, "spec.cidrs[1]");
    }
}
