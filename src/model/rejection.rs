//! What could not be used, and why.

use std::fmt;

/// A kind of object that can be rejected, in whole or in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// A Service.
    Service,
    /// An EndpointSlice.
    EndpointSlice,
    /// A Node.
    Node,
    /// A ServiceCIDR.
    ServiceCidr,
    /// A manifest file or a document of it.
    Manifest,
}

impl ObjectKind {
    /// All of them.
    pub const ALL: [ObjectKind; 5] = [
        ObjectKind::Service,
        ObjectKind::EndpointSlice,
        ObjectKind::Node,
        ObjectKind::ServiceCidr,
        ObjectKind::Manifest,
    ];
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ObjectKind::Service => "Service",
            ObjectKind::EndpointSlice => "EndpointSlice",
            ObjectKind::Node => "Node",
            ObjectKind::ServiceCidr => "ServiceCIDR",
            ObjectKind::Manifest => "Manifest",
        })
    }
}

/// A field that could not be used. It costs what it names, nothing else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejection {
    /// The kind of the object.
    pub kind: ObjectKind,
    /// `namespace/name`, or a plain name, or `file (document N)`.
    pub object: String,
    /// The path of the field, like `endpoints[2].addresses[0]`.
    pub field: String,
    /// What is wrong and what follows from it.
    pub reason: String,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}: {}", self.kind, self.object, self.field, self.reason)
    }
}
