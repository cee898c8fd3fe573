//! The part of `metadata` that counts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use crate::model::ObjectName;

use super::findings::Findings;
use super::lenient::Lenient;
use super::protobuf::{Form, Shape, one};

/// The label that hands a Service to another proxy.
pub(crate) const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
/// The label of slices that belong to headless Services.
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";
/// The label that names a slice's Service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The annotation that says when the change behind this version of a slice happened.
pub(crate) const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Labels or annotations, values of wrong types included.
pub(crate) type Words = Lenient<BTreeMap<String, Lenient<String>>>;

/// `metadata`, slim: managed fields, owners and the rest are read over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meta {
    /// Name, namespace and resource version, where kube looks for them.
    pub(crate) object: ObjectMeta,
    /// What was wrong with those three, by field.
    wrong: Vec<(&'static str, Box<str>)>,
    /// `creationTimestamp`.
    pub(crate) created: Lenient<Timestamp>,
    /// `deletionTimestamp`.
    pub(crate) deleted: Lenient<String>,
    /// `labels`.
    pub(crate) labels: Words,
    /// `annotations`, only the one that counts.
    pub(crate) trigger: Lenient<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawMeta {
    name: Lenient<String>,
    namespace: Lenient<String>,
    resource_version: Lenient<String>,
    creation_timestamp: Lenient<Timestamp>,
    deletion_timestamp: Lenient<String>,
    labels: Words,
    annotations: Lenient<RawAnnotations>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawAnnotations {
    #[serde(rename = "endpoints.kubernetes.io/last-change-trigger-time")]
    trigger: Lenient<Timestamp>,
}

/// `meta.v1.ObjectMeta`.
pub(crate) static META: Shape = Shape(&[
    one(1, "name", Form::Text),
    one(3, "namespace", Form::Text),
    one(6, "resourceVersion", Form::Text),
    one(8, "creationTimestamp", Form::Time),
    one(9, "deletionTimestamp", Form::Time),
    one(11, "labels", Form::Words),
    one(12, "annotations", Form::Words),
]);

impl<'de> Deserialize<'de> for Meta {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut meta = Meta::default();
        let raw = match Lenient::<RawMeta>::deserialize(deserializer)? {
            Lenient::Good(raw) => raw,
            Lenient::Absent => return Ok(meta),
            Lenient::Bad(complaint) => {
                meta.wrong.push(("metadata", complaint));
                return Ok(meta);
            }
        };
        meta.object.name = meta.plain("metadata.name", raw.name);
        meta.object.namespace = meta.plain("metadata.namespace", raw.namespace);
        meta.object.resource_version = meta.plain("metadata.resourceVersion", raw.resource_version);
        (meta.created, meta.deleted, meta.labels) = (raw.creation_timestamp, raw.deletion_timestamp, raw.labels);
        meta.trigger = match raw.annotations {
            Lenient::Good(annotations) => annotations.trigger,
            _ => Lenient::Absent,
        };
        Ok(meta)
    }
}

impl Meta {
    fn plain(&mut self, field: &'static str, value: Lenient<String>) -> Option<String> {
        match value {
            Lenient::Absent => None,
            Lenient::Good(value) => Some(value),
            Lenient::Bad(complaint) => {
                self.wrong.push((field, complaint));
                None
            }
        }
    }

    /// The name of a namespaced object.
    pub(crate) fn object_name(&self) -> ObjectName {
        ObjectName::new(self.object.namespace.as_deref().unwrap_or("default"), self.plain_name())
    }

    /// The name of an object without a namespace; empty when there is none.
    pub(crate) fn plain_name(&self) -> &str {
        self.object.name.as_deref().unwrap_or_default()
    }

    /// Whether the object has a usable name; notes what is wrong with it.
    pub(crate) fn check(&mut self, out: &mut Findings<'_>) -> bool {
        let unnamed = self.plain_name().is_empty();
        if unnamed && self.wrong.is_empty() {
            out.reject("metadata.name", "absent; the object is skipped");
        }
        for (field, complaint) in self.wrong.drain(..) {
            out.reject(field, complaint);
        }
        !unnamed
    }

    /// Whether the label is there, whatever its value.
    pub(crate) fn has_label(&self, label: &str) -> bool {
        matches!(&self.labels, Lenient::Good(labels) if labels.contains_key(label))
    }

    /// Takes a label's value out.
    pub(crate) fn take_label(&mut self, label: &str) -> Lenient<String> {
        match &mut self.labels {
            Lenient::Good(labels) => labels.remove(label).unwrap_or_default(),
            Lenient::Absent => Lenient::Absent,
            Lenient::Bad(complaint) => Lenient::Bad(complaint.clone()),
        }
    }
}

/// Implements [`kube::Resource`] for a slim type whose field `metadata` is a [`Meta`], after the full type.
macro_rules! slim_resource {
    ($slim:ty, $full:ty) => {
        impl kube::Resource for $slim {
            type DynamicType = ();
            type Scope = <$full as kube::Resource>::Scope;

            fn kind(_: &()) -> std::borrow::Cow<'_, str> {
                <$full as kube::Resource>::kind(&())
            }

            fn group(_: &()) -> std::borrow::Cow<'_, str> {
                <$full as kube::Resource>::group(&())
            }

            fn version(_: &()) -> std::borrow::Cow<'_, str> {
                <$full as kube::Resource>::version(&())
            }

            fn plural(_: &()) -> std::borrow::Cow<'_, str> {
                <$full as kube::Resource>::plural(&())
            }

            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata.object
            }

            fn meta_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata.object
            }
        }
    };
}

pub(crate) use slim_resource;
