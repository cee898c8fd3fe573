//! Addresses and networks as the API has them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// Parses an address the way Kubernetes does: leading zeros in IPv4 are decimal, not octal and not an error; an IPv4-mapped
/// IPv6 address is the IPv4 address.
pub(crate) fn parse_ip(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return Ipv6Addr::from_str(text).ok().map(|ip| IpAddr::V6(ip).to_canonical());
    }
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        *octet = decimal(parts.next()?)?;
    }
    parts.next().is_none().then(|| IpAddr::V4(Ipv4Addr::from(octets)))
}

/// Parses a network the same way. Host bits are cleared.
pub(crate) fn parse_net(text: &str) -> Option<IpNet> {
    let (ip, prefix) = text.split_once('/')?;
    let mapped = ip.contains(':') && parse_ip(ip)?.is_ipv4();
    if mapped {
        return None;
    }
    IpNet::new(parse_ip(ip)?, decimal(prefix)?).ok().map(|net| net.trunc())
}

/// A decimal number up to 255; leading zeros do not count.
fn decimal(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let short = text.trim_start_matches('0');
    match (digits, short) {
        (false, _) => None,
        (true, "") => Some(0),
        (true, short) => short.parse().ok(),
    }
}

/// Why an address can be neither an endpoint nor an external IP, if so: Kubernetes' own validation refuses these too.
pub(crate) fn special(ip: IpAddr) -> Option<&'static str> {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    match ip {
        _ if ip.is_unspecified() => Some("unspecified"),
        _ if ip.is_loopback() => Some("loopback"),
        _ if link_local => Some("link-local"),
        _ if ip.is_multicast() => Some("multicast"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn leading_zeros_are_decimal() {
        assert_eq!(parse_ip("010.000.001.08"), parse_ip("10.0.1.8"));
        assert_eq!(parse_ip("10.0.1.8"), Some("10.0.1.8".parse().unwrap()));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in
            ["", "10.0.0", "10.0.0.0.1", "10.0.0.256", "10.0.0.-1", "10.0.0.+1", " 10.0.0.1", "a.b.c.d", "10..0.1"]
        {
            assert_eq!(parse_ip(text), None, "{text:?}");
        }
        for text in ["fe80::1%eth0", "::g", "1::2::3", "[::1]"] {
            assert_eq!(parse_ip(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        assert_eq!(parse_ip("::ffff:10.0.0.1"), parse_ip("10.0.0.1"));
    }

    #[test]
    fn networks_lose_their_host_bits() {
        assert_eq!(parse_net("10.1.2.3/016"), Some("10.1.0.0/16".parse().unwrap()));
        assert_eq!(parse_net("fd00::1/64"), Some("fd00::/64".parse().unwrap()));
        for text in ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "/8", "::/129", "::ffff:10.0.0.0/104", "10.0.0.0/8/8"] {
            assert_eq!(parse_net(text), None, "{text:?}");
        }
    }

    #[test]
    fn special_addresses_are_named() {
        let kind = |text| special(parse_ip(text).unwrap());
        assert_eq!(kind("0.0.0.0"), Some("unspecified"));
        assert_eq!(kind("127.1.2.3"), Some("loopback"));
        assert_eq!(kind("169.254.20.10"), Some("link-local"));
        assert_eq!(kind("224.0.0.1"), Some("multicast"));
        assert_eq!(kind("::1"), Some("loopback"));
        assert_eq!(kind("fe80::1"), Some("link-local"));
        assert_eq!(kind("ff02::1"), Some("multicast"));
        assert_eq!(kind("10.0.0.1"), None);
        assert_eq!(kind("2001:db8::1"), None);
    }

    proptest! {
        #[test]
        fn every_printed_address_reads_back(ip in any::<IpAddr>()) {
            prop_assert_eq!(parse_ip(&ip.to_string()), Some(ip.to_canonical()));
        }

        #[test]
        fn zeros_in_front_change_nothing(octets in any::<[u8; 4]>(), zeros in 0usize..4) {
            let zeros = "0".repeat(zeros);
            let text = octets.map(|o| format!("{zeros}{o}")).join(".");
            prop_assert_eq!(parse_ip(&text), Some(IpAddr::from(octets)));
        }
    }
}
