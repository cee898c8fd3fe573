//! Documents to objects.

use serde_json::Value;

use crate::model::{Change, EndpointSlice, Event, Node, ObjectKind, Rejection, Service, ServiceCidr};
use crate::source::intern::Interner;
use crate::source::kind::{Kind, Origin};
use crate::source::lenient::Lenient;
use crate::source::node::SlimNode;
use crate::source::service::SlimService;
use crate::source::service_cidr::SlimServiceCidr;
use crate::source::slice::SlimSlice;

/// What identifies an object: its kind, and its name as it is printed.
pub(super) type Key = (ObjectKind, String);

/// An object that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Object {
    Service(Service),
    Slice(EndpointSlice),
    Node(Node),
    ServiceCidr(ServiceCidr),
}

impl Object {
    /// The object is so now.
    pub(super) fn upsert(&self) -> Event {
        match self.clone() {
            Object::Service(service) => Event::Service(Change::Upsert(service)),
            Object::Slice(slice) => Event::Slice(Change::Upsert(slice)),
            Object::Node(node) => Event::Node(Change::Upsert(node)),
            Object::ServiceCidr(cidr) => Event::ServiceCidr(Change::Upsert(cidr)),
        }
    }

    /// The object is gone.
    pub(super) fn delete(&self) -> Event {
        match self {
            Object::Service(service) => Event::Service(Change::Delete(service.name.clone())),
            Object::Slice(slice) => Event::Slice(Change::Delete(slice.name.clone())),
            Object::Node(node) => Event::Node(Change::Delete(node.name.clone())),
            Object::ServiceCidr(cidr) => Event::ServiceCidr(Change::Delete(cidr.name.clone())),
        }
    }
}

/// What a document gave.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The objects of our kinds; `None` for one that does not count.
    pub(super) objects: Vec<(Key, Option<Object>)>,
    /// What could not be used of them.
    pub(super) rejections: Vec<Rejection>,
    /// What makes the document itself unusable: field and reason.
    pub(super) broken: Vec<(String, String)>,
}

/// Reads documents.
pub(super) struct Reader<'a> {
    pub(super) node_name: &'a str,
    pub(super) names: &'a mut Interner,
}

impl Reader<'_> {
    /// Reads one document: an object, or a list of objects.
    pub(super) fn read(&mut self, document: Value) -> Reading {
        let mut out = Reading::default();
        self.object(document, "", "", &mut out);
        out
    }

    /// `at` is the path of the object in its document, `usual` the kind its list implies.
    fn object(&mut self, mut value: Value, at: &str, usual: &str, out: &mut Reading) {
        if value.is_null() {
            return;
        }
        let word = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (mut version, mut kind) = (word("apiVersion"), word("kind"));
        if kind.is_empty() && version.is_empty() && !usual.is_empty() {
            (version, kind) = usual.rsplit_once(' ').map(|(v, k)| (v.to_owned(), k.to_owned())).unwrap_or_default();
        }
        for (field, given) in [("apiVersion", &version), ("kind", &kind)] {
            if given.is_empty() {
                out.broken.push((path(at, field), "absent, or not a string; this is left out".to_owned()));
                return;
            }
        }
        if let (Some(of), Some(items)) = (kind.strip_suffix("List"), value.get_mut("items")) {
            return self.items(items.take(), at, &format!("{version} {of}"), out);
        }
        match (version.split_once('/').map_or("", |(group, _)| group), kind.as_str()) {
            ("", "Service") => self.one::<SlimService>(value, Object::Service, at, out),
            ("discovery.k8s.io", "EndpointSlice") => self.one::<SlimSlice>(value, Object::Slice, at, out),
            ("networking.k8s.io", "ServiceCIDR") => self.one::<SlimServiceCidr>(value, Object::ServiceCidr, at, out),
            ("", "Node") => self.one::<SlimNode>(value, Object::Node, at, out),
            _ => tracing::debug!(version, kind, "a manifest of no kind of ours"),
        }
    }

    fn items(&mut self, items: Value, at: &str, of: &str, out: &mut Reading) {
        let usual = if of.ends_with(' ') { "" } else { of };
        match items {
            Value::Array(items) => {
                for (n, item) in items.into_iter().enumerate() {
                    self.object(item, &path(at, &format!("items[{n}]")), usual, out);
                }
            }
            Value::Null => {}
            _ => out.broken.push((path(at, "items"), "not a list".to_owned())),
        }
    }

    fn one<K: Kind>(&mut self, value: Value, wrap: fn(K::Model) -> Object, at: &str, out: &mut Reading) {
        let slim: K = match serde_json::from_value(value) {
            Ok(Lenient::Good(slim)) => slim,
            Ok(Lenient::Absent) => return,
            Ok(Lenient::Bad(reason)) => return out.broken.push((path(at, "metadata"), reason.into())),
            Err(error) => return out.broken.push((path(at, "metadata"), error.to_string())),
        };
        let name = slim.name().to_string();
        if K::KIND == ObjectKind::Node && name != self.node_name {
            return;
        }
        let parsed = slim.into_model(Origin::Manifest, self.names);
        out.rejections.extend(parsed.rejections);
        out.objects.push(((K::KIND, name), parsed.model.map(wrap)));
    }
}

fn path(at: &str, field: &str) -> String {
    if at.is_empty() { field.to_owned() } else { format!("{at}.{field}") }
}
