//! What can go wrong, on demand.

use std::time::Duration;

use super::store::Resource;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A plain list.
    List,
    /// A watch, streaming lists included.
    Watch,
}

impl Verb {
    /// The word for it in a ClusterRole.
    pub(crate) fn rbac(self) -> &'static str {
        match self {
            Verb::List => "list",
            Verb::Watch => "watch",
        }
    }
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is answered with this HTTP status.
    Status(u16),
    /// It is answered after this time.
    Delay(Duration),
    /// It is answered 200 with a body that is no JSON.
    Garbage,
    /// The connection is cut before the answer ends.
    Cut,
}

/// What happens to the open watches.
#[derive(Clone, Debug)]
pub enum Disturbance {
    /// The connection is cut.
    Drop,
    /// The stream ends properly.
    Close,
    /// An ERROR event with this code, then the end.
    Error(u16),
    /// This line is sent as it is.
    Line(String),
    /// Half of an event is sent, then the connection is cut.
    HalfLine,
    /// All events of the history are sent once more, in their order.
    Replay,
    /// A bookmark is sent to those who asked for them, if the server has them.
    Bookmark,
}

/// A fault that waits for its request.
pub(crate) struct Planned {
    pub(crate) resource: Resource,
    pub(crate) verb: Verb,
    pub(crate) fault: Fault,
    pub(crate) times: usize,
}
