//! What the four kinds of objects have in common.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::model::{Change, Event, ObjectKind, Rejection};

use super::intern::Interner;
use super::protobuf::Shape;

/// Where an object comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The API server: it has validated the object, filled in defaults and allocated addresses and ports.
    Api,
    /// A manifest: nobody has.
    Manifest,
}

/// An object turned into the model's words.
#[derive(Debug)]
pub(crate) struct Parsed<N, M> {
    /// Its name.
    pub(crate) name: N,
    /// The object; `None` when it does not count (any more) or cannot be used.
    pub(crate) model: Option<M>,
    /// What could not be used.
    pub(crate) rejections: Vec<Rejection>,
}

/// A slim API type.
pub(crate) trait Kind:
    kube::Resource<DynamicType = ()> + DeserializeOwned + Clone + fmt::Debug + Send + 'static
{
    /// Its name in the model.
    type Name: Clone + Ord + fmt::Display + Send;
    /// The object in the model.
    type Model: Clone + PartialEq + Send;
    /// The kind's word.
    const KIND: ObjectKind;
    /// How it stands in protobuf.
    const SHAPE: &'static Shape;

    /// The object's name.
    fn name(&self) -> Self::Name;

    /// The object in the model's words.
    fn into_model(self, origin: Origin, names: &mut Interner) -> Parsed<Self::Name, Self::Model>;

    /// The change as an event.
    fn event(change: Change<Self::Name, Self::Model>) -> Event;
}
