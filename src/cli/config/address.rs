//! Addresses, networks and `host:port`, as the API reads them: leading zeros in IPv4 are allowed and decimal.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// An address. Leading zeros in IPv4 are dropped, not taken for octal.
pub(crate) fn parse_ip(text: &str) -> Option<IpAddr> {
    match text.parse() {
        Ok(ip) => Some(ip),
        Err(_) => without_leading_zeros(text)?.parse().ok(),
    }
}

fn without_leading_zeros(text: &str) -> Option<String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let octets = text.split('.').map(|octet| match octet.trim_start_matches('0') {
        "" if !octet.is_empty() => "0",
        rest => rest,
    });
    Some(octets.collect::<Vec<_>>().join("."))
}

/// A network, its host bits cleared.
pub(crate) fn parse_cidr(text: &str) -> Option<IpNet> {
    let (ip, length) = text.split_once('/')?;
    if !length.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    IpNet::new(parse_ip(ip)?, length.parse().ok()?).ok().map(|net| net.trunc())
}

/// Appends the port if `text` is a bare address; anything else is left for [`parse_host_port`] to judge.
pub(crate) fn default_port(text: &str, port: u16) -> String {
    match parse_ip(text.trim_start_matches('[').trim_end_matches(']')) {
        Some(ip) => SocketAddr::new(ip, port).to_string(),
        None => text.to_owned(),
    }
}

/// `ip:port` or `[ip]:port`, the port not 0.
pub(crate) fn parse_host_port(text: &str) -> Result<SocketAddr, &'static str> {
    let (host, port) = text.rsplit_once(':').ok_or("must be IP:port")?;
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if bracketed.is_none() && host.contains(':') {
        return Err("must be [IPv6]:port");
    }
    let ip = parse_ip(bracketed.unwrap_or(host)).ok_or("must begin with a valid IP address")?;
    match port.parse() {
        Ok(port) if port != 0 => Ok(SocketAddr::new(ip, port)),
        _ => Err("must end in a port from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_are_decimal() {
        assert_eq!(parse_ip("010.000.1.08"), parse_ip("10.0.1.8"));
        assert_eq!(parse_ip("010.000.1.08"), Some(IpAddr::from([10, 0, 1, 8])));
        assert_eq!(parse_ip("10..1.8"), None);
        assert_eq!(parse_ip(""), None);
    }

    #[test]
    fn host_bits_are_cleared() {
        assert_eq!(parse_cidr("10.244.1.7/16"), "10.244.0.0/16".parse().ok());
        assert_eq!(parse_cidr("10.244.0.0/33"), None);
        assert_eq!(parse_cidr("10.244.0.0/+8"), None);
        assert_eq!(parse_cidr("10.244.0.0"), None);
    }

    #[test]
    fn a_port_is_added_to_a_bare_address() {
        assert_eq!(default_port("0.0.0.0", 1), "0.0.0.0:1");
        assert_eq!(default_port("fd00::1", 1), "[fd00::1]:1");
        assert_eq!(default_port("[::]", 1), "[::]:1");
        assert_eq!(default_port("10.0.0.1:99", 1), "10.0.0.1:99");
    }

    #[test]
    fn host_and_port() {
        assert_eq!(parse_host_port("[::]:10256"), Ok("[::]:10256".parse().unwrap()));
        assert!(parse_host_port("0.0.0.0:0").is_err());
        assert!(parse_host_port("localhost:80").is_err());
        assert!(parse_host_port("10.0.0.1").is_err());
        assert!(parse_host_port("::1:80").is_err());
    }
}
