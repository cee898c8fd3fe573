//! What a source says.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{EndpointSlice, Node, ObjectName, Rejection, Service, ServiceCidr};

/// One step of one kind's story.
///
/// A list is told as `Init`, an `Upsert` for each object, `Synced`: what existed before and was not told between the two is
/// gone. After `Synced`, single `Upsert`s and `Delete`s follow, until the next `Init` (a relist). Both are idempotent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<N, T> {
    /// A full list begins.
    Init,
    /// The object is so now.
    Upsert(T),
    /// The object is gone, or no longer one of those that count.
    Delete(N),
    /// The full list is complete.
    Synced,
}

/// One event from a source. All sources speak this one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A Service.
    Service(Change<ObjectName, Service>),
    /// An EndpointSlice.
    Slice(Change<ObjectName, EndpointSlice>),
    /// The own Node; other nodes are never told.
    Node(Change<String, Node>),
    /// A ServiceCIDR.
    ServiceCidr(Change<String, ServiceCidr>),
    /// All addresses on the interfaces of this host's network namespace, loopback included. Told whole at the start and whenever they
    /// change.
    LocalAddresses(BTreeSet<IpAddr>),
    /// Something in an object (or a whole object) could not be used. Told before the event of the object itself.
    Rejected(Rejection),
}
