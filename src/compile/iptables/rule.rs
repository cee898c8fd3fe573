//! One rule as a value, and its text as `iptables-save` writes it: so what is read back compares as it is.

use std::fmt;
use std::fmt::Write;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::compile::manners::Locality;
use crate::model::{EndpointAddr, Family, Protocol};

/// A rule: what it matches, and where it goes. Nothing matched is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rule {
    source: String,
    destination: String,
    interface: String,
    protocol: Option<Protocol>,
    matches: String,
    target: String,
}

impl Rule {
    /// Only from inside a network.
    pub(super) fn source(mut self, net: IpNet) -> Rule {
        self.source = format!("-s {} ", net.trunc());
        self
    }

    /// Only to inside a network.
    pub(super) fn destination(mut self, net: IpNet) -> Rule {
        self.destination = format!("-d {} ", net.trunc());
        self
    }

    /// Only to one address.
    pub(super) fn address(self, ip: IpAddr) -> Rule {
        self.destination(ip.into())
    }

    /// Only from outside a network.
    pub(super) fn not_source(mut self, net: IpNet) -> Rule {
        self.source = format!("! -s {} ", net.trunc());
        self
    }

    /// Only to outside a network.
    pub(super) fn not_destination(mut self, net: IpNet) -> Rule {
        self.destination = format!("! -d {} ", net.trunc());
        self
    }

    /// Only from who is local to the cluster, or from who is not; `None` when nobody can tell.
    pub(super) fn local(mut self, locality: &Locality, is: bool) -> Option<Rule> {
        match locality {
            Locality::Unknown => None,
            Locality::Inside(net) if is => Some(self.source(*net)),
            Locality::Inside(net) => Some(self.not_source(*net)),
            Locality::By { interface, prefix } => {
                let (not, more) = (if is { "" } else { "! " }, if *prefix { "+" } else { "" });
                self.interface = format!("{not}-i {interface}{more} ");
                Some(self)
            }
        }
    }

    /// Only packets of a protocol; its match follows with [`Rule::port`] or [`Rule::of_its_protocol`].
    pub(super) fn protocol(mut self, protocol: Protocol) -> Rule {
        self.protocol = Some(protocol);
        self
    }

    /// What a person reads.
    pub(super) fn comment(self, text: &str) -> Rule {
        self.with(format_args!("-m comment --comment \"{text}\""))
    }

    /// Only to a destination port of the protocol.
    pub(super) fn port(self, protocol: Protocol, port: u16) -> Rule {
        self.protocol(protocol).with(format_args!("-m {protocol} --dport {port}"))
    }

    /// The protocol's match without a port, as DNAT to a port asks for it.
    pub(super) fn of_its_protocol(self, protocol: Protocol) -> Rule {
        self.protocol(protocol).with(format_args!("-m {protocol}"))
    }

    /// Another match.
    pub(super) fn with(mut self, text: impl fmt::Display) -> Rule {
        // Writing to a String cannot fail.
        let _ = write!(self.matches, "{text} ");
        self
    }

    /// Where it goes: a chain or a target with its options.
    pub(super) fn then(mut self, target: impl fmt::Display) -> Rule {
        self.target = format!("-j {target}");
        self
    }

    /// Refuses: TCP by a reset, anything else by an ICMP error.
    pub(super) fn reject(self, family: Family, protocol: Protocol) -> Rule {
        self.then(match (protocol, family) {
            (Protocol::Tcp, _) => "REJECT --reject-with tcp-reset",
            (_, Family::V4) => "REJECT --reject-with icmp-port-unreachable",
            (_, Family::V6) => "REJECT --reject-with icmp6-port-unreachable",
        })
    }

    /// Sends to an endpoint.
    pub(super) fn dnat(self, to: EndpointAddr) -> Rule {
        self.then(format_args!("DNAT --to-destination {to}"))
    }

    /// Takes one packet in `n`, as the kernel rounds it: it draws 31 bits.
    pub(super) fn one_in(self, n: usize) -> Rule {
        let drawn = (f64::from(1u32 << 31) / n as f64).round() / f64::from(1u32 << 31);
        self.with(format_args!("-m statistic --mode random --probability {drawn:.11}"))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rule { source, destination, interface, protocol, matches, target } = self;
        write!(f, "{source}{destination}{interface}")?;
        if let Some(protocol) = protocol {
            write!(f, "-p {protocol} ")?;
        }
        f.write_str(format!("{matches}{target}").trim_end())
    }
}

/// A rule in a form in which equal rules are equal text: iptables prints matches in another order than they were given, depending on
/// its version and variant.
pub fn canonical(rule: &str) -> String {
    let mut groups: Vec<Vec<String>> = Vec::new();
    let mut negated = false;
    for word in words(rule) {
        let begins = matches!(word.as_str(), "-s" | "-d" | "-i" | "-o" | "-p" | "-m" | "-j" | "-g");
        if word == "!" && groups.last().is_none_or(|group| group[0] != "-m" || group.len() != 2) {
            negated = true;
            continue;
        }
        match groups.last_mut() {
            Some(group) if !begins => {
                group.extend(std::mem::take(&mut negated).then(|| "!".to_owned()));
                group.push(word);
            }
            _ => groups.push(std::mem::take(&mut negated).then(|| "!".to_owned()).into_iter().chain([word]).collect()),
        }
    }
    // `-p tcp` alone loads no match; `-m tcp` beside it says nothing more.
    groups.retain(|group| !matches!(&group[..], [m, name] if m == "-m" && is_protocol(name)));
    groups.sort();
    groups.iter().map(|group| group.join("\u{1f}")).collect::<Vec<_>>().join("\u{1e}")
}

fn is_protocol(name: &str) -> bool {
    matches!(name, "tcp" | "udp" | "sctp")
}

/// The words of a rule, as a shell would split them.
pub fn words(rule: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    let mut letters = rule.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => (quoted, begun) = (!quoted, true),
            '\\' if quoted => word.extend(letters.next()),
            ' ' | '\n' if !quoted => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
            }
            letter => {
                begun = true;
                word.push(letter);
            }
        }
    }
    words.extend(begun.then_some(word));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_written_as_iptables_save_writes_it() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let rule = Rule::default().address(ip("10.96.0.10")).comment("default/web:http cluster IP");
        let rule = rule.port(Protocol::Tcp, 80).then("KUBE-SVC-X");
        let said = "-d 10.96.0.10/32 -p tcp -m comment --comment \"default/web:http cluster IP\" -m tcp --dport 80 -j KUBE-SVC-X";
        assert_eq!(rule.to_string(), said);
        let local = Locality::By { interface: "veth".into(), prefix: true };
        let rule = Rule::default().address(ip("fd00::1")).local(&local, false).unwrap().then("M");
        assert_eq!(rule.to_string(), "-d fd00::1/128 ! -i veth+ -j M");
        let rule = Rule::default().source("10.1.2.3/16".parse().unwrap()).with("-m x");
        assert_eq!(rule.to_string(), "-s 10.1.0.0/16 -m x");
    }

    #[test]
    fn a_chance_is_written_as_the_kernel_rounds_it() {
        let chance = |n| Rule::default().one_in(n).to_string().rsplit(' ').next().unwrap().to_owned();
        assert_eq!([2, 3, 7].map(chance), ["0.50000000000", "0.33333333349", "0.14285714272"]);
    }

    #[test]
    fn order_of_matches_and_quotes_are_no_difference() {
        let a = "-d 1.2.3.4/32 -p tcp -m comment --comment \"a b\" -m tcp --dport 80 -j X";
        let b = "-p tcp -m tcp --dport 80 -d 1.2.3.4/32 -m comment --comment \"a b\" -j X";
        assert_eq!(canonical(a), canonical(b));
        assert_eq!(canonical("-p tcp -m tcp -j X"), canonical("-p tcp -j X"));
        assert_eq!(canonical("-m comment --comment x -j X"), canonical("-m comment --comment \"x\" -j X"));
    }

    #[test]
    fn a_negation_stays_with_what_it_negates() {
        let (not_s, not_d) = ("! -s 1.0.0.0/8 -d 2.0.0.0/8 -j X", "-s 1.0.0.0/8 ! -d 2.0.0.0/8 -j X");
        assert_ne!(canonical(not_s), canonical(not_d));
        assert_ne!(canonical("-m mark ! --mark 0x1/0x1 -j X"), canonical("-m mark --mark 0x1/0x1 -j X"));
        assert_eq!(canonical("-d 2.0.0.0/8 ! -s 1.0.0.0/8 -j X"), canonical(not_s));
    }
}
