//! Values that are written as strings.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::model::{Protocol, TrafficPolicy};

use super::address::{parse_ip, parse_net};

/// Something that is written as a string.
pub(crate) trait Written: Sized {
    /// What it is, for complaints.
    const WHAT: &'static str;

    /// Reads it.
    fn read(text: &str) -> Option<Self>;
}

/// A value read from a string without keeping the string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text<T>(pub(crate) T);

impl<'de, T: Written> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor(PhantomData))
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: Written> Visitor<'_> for TextVisitor<T> {
    type Value = Text<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WHAT)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<T>, E> {
        T::read(text).map(Text).ok_or_else(|| E::custom(format_args!("{text:?} is not {}", T::WHAT)))
    }
}

impl Written for IpAddr {
    const WHAT: &'static str = "an IP address";

    fn read(text: &str) -> Option<Self> {
        parse_ip(text)
    }
}

/// Spaces around a network do not count: Kubernetes lets them pass in source ranges.
impl Written for IpNet {
    const WHAT: &'static str = "a network (address/prefix)";

    fn read(text: &str) -> Option<Self> {
        parse_net(text.trim())
    }
}

impl Written for Protocol {
    const WHAT: &'static str = "a protocol (TCP, UDP, SCTP)";

    fn read(text: &str) -> Option<Self> {
        match text {
            "TCP" => Some(Protocol::Tcp),
            "UDP" => Some(Protocol::Udp),
            "SCTP" => Some(Protocol::Sctp),
            _ => None,
        }
    }
}

impl Written for TrafficPolicy {
    const WHAT: &'static str = "a traffic policy (Cluster, Local)";

    fn read(text: &str) -> Option<Self> {
        match text {
            "Cluster" => Some(TrafficPolicy::Cluster),
            "Local" => Some(TrafficPolicy::Local),
            _ => None,
        }
    }
}
