//! How netlink writes things down: attributes and messages. A tool shared by the rooms that talk to the kernel; it opens no
//! socket and knows no subsystem.

pub(crate) mod attr;
pub(crate) mod message;
