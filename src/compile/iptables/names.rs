//! Names of the chains a service port has for itself.
//!
//! The names are kube-proxy's: 16 characters of base32 (RFC 4648) of a SHA-256, so that a person or a tool that knows them finds them.

use ring::digest::{SHA256, digest};

use crate::compile::ruleset::Name;
use crate::model::{EndpointAddr, Protocol};

/// Endpoints under the Cluster policy.
pub const SVC: &str = "KUBE-SVC-";
/// Endpoints under the Local policy.
pub const SVL: &str = "KUBE-SVL-";
/// External traffic.
pub const EXT: &str = "KUBE-EXT-";
/// Load-balancer traffic with source ranges.
pub const FW: &str = "KUBE-FW-";
/// One endpoint.
pub const SEP: &str = "KUBE-SEP-";

const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Characters of a hash in a name: 80 bits.
const LENGTH: usize = 16;

/// The four chains of a service port: they differ in the prefix only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortNames {
    /// The Cluster pool.
    pub svc: Name,
    /// The Local pool.
    pub svl: Name,
    /// External traffic.
    pub ext: Name,
    /// The guard of load-balancer IPs.
    pub fw: Name,
}

impl PortNames {
    /// The chains of the port that is written `port` (`namespace/name:port`).
    pub fn of(port: &str, protocol: Protocol) -> PortNames {
        let hash = hash(&format!("{port}{protocol}"));
        let name = |prefix: &str| Name::from(format!("{prefix}{hash}"));
        PortNames { svc: name(SVC), svl: name(SVL), ext: name(EXT), fw: name(FW) }
    }
}

/// The chain of one endpoint of a port.
pub fn endpoint(port: &str, protocol: Protocol, endpoint: EndpointAddr) -> Name {
    Name::from(format!("{SEP}{}", hash(&format!("{port}{protocol}{endpoint}"))))
}

/// Whether a chain is one that belongs to a service port.
pub fn is_of_a_service(chain: &str) -> bool {
    [SVC, SVL, EXT, FW, SEP].iter().any(|prefix| chain.starts_with(prefix))
}

fn hash(text: &str) -> String {
    let sum = digest(&SHA256, text.as_bytes());
    let bits = |n: usize| {
        let (byte, shift) = (n * 5 / 8, n * 5 % 8);
        let pair = u16::from_be_bytes([sum.as_ref()[byte], sum.as_ref()[byte + 1]]);
        usize::from(pair >> (11 - shift) & 31)
    };
    (0..LENGTH).map(|n| char::from(LETTERS[bits(n)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf %s default/kubernetes:httpstcp | sha256sum | xxd -r -p | base32 | cut -c1-16`; the first two are the names every cluster has.
    #[test]
    fn the_names_are_those_known_from_every_cluster() {
        assert_eq!(PortNames::of("default/kubernetes:https", Protocol::Tcp).svc.as_str(), "KUBE-SVC-NPX46M4PTMTKRN6Y");
        assert_eq!(PortNames::of("kube-system/kube-dns:dns", Protocol::Udp).svc.as_str(), "KUBE-SVC-TCOU7JCQXEZGVUNU");
        let web = PortNames::of("default/web", Protocol::Tcp);
        let all = [&web.svc, &web.svl, &web.ext, &web.fw].map(|name| name.as_str().to_owned());
        assert_eq!(all, ["SVC", "SVL", "EXT", "FW"].map(|kind| format!("KUBE-{kind}-LOLE4ISW44XBNF3G")));
    }

    #[test]
    fn an_endpoints_name_has_its_address_as_it_is_written() {
        let at = |text: &str| {
            let addr: std::net::SocketAddr = text.parse().unwrap();
            endpoint("default/web", Protocol::Tcp, EndpointAddr { ip: addr.ip(), port: addr.port() })
        };
        assert_eq!(at("10.244.1.7:8080").as_str(), "KUBE-SEP-DKWNLF34UGBVYALX");
        assert_eq!(at("[fd00:10:244::7]:8080").as_str(), "KUBE-SEP-VTSQZLZTFEIR6MTF");
        assert!(is_of_a_service(at("10.244.1.7:8080").as_str()) && !is_of_a_service("KUBE-SERVICES"));
    }
}
