//! One rule as `iptables-save` writes it.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::{EndpointAddr, Protocol};

/// A rule: what must hold, and what happens then.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    /// Everything behind `-A CHAIN `, as it was written.
    pub(super) text: String,
    /// The comment.
    pub(super) comment: Option<String>,
    /// What must hold, all of it.
    pub(super) matches: Vec<Match>,
    /// What happens.
    pub(super) target: Target,
}

/// One condition; `bool` is whether it must hold (`false` after `!`).
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Match {
    Source(IpNet, bool),
    Destination(IpNet, bool),
    /// An IANA number; 0 is any.
    Protocol(u8, bool),
    /// First and last.
    DestinationPort(u16, u16, bool),
    Interface(Name, bool),
    /// The interface it leaves by, which is not modelled.
    OutInterface,
    SourceIsLocal(bool),
    DestinationIsLocal(bool),
    Mark {
        value: u32,
        mask: u32,
        holds: bool,
    },
    State(Vec<String>, bool),
    /// One of so many, at random.
    Random,
    /// What packets have taught (`recent --rcheck`), with the seconds it lasts.
    Learned(u64),
    /// Says nothing about where a packet goes.
    Always,
    Unknown(String),
}

/// An interface's name, or with `+` how it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) is_prefix: bool,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    None,
    Jump(String),
    Goto(String),
    Accept,
    Drop,
    Return,
    Reject,
    SetMark { value: u32, mask: u32 },
    Dnat(EndpointAddr),
    Masquerade,
    Unknown(String),
}

impl Target {
    /// The chain it leads to.
    pub(super) fn chain(&self) -> Option<&str> {
        match self {
            Target::Jump(chain) | Target::Goto(chain) => Some(chain),
            _ => None,
        }
    }
}

/// What stands behind `-A CHAIN`.
pub(super) fn rule(text: &str) -> Rule {
    let words = words(text);
    let mut reader = Reader { words: &words, at: 0, holds: true, dnat: None };
    let mut rule = Rule { text: text.to_owned(), comment: None, matches: Vec::new(), target: Target::None };
    while let Some(word) = reader.next() {
        reader.option(word, &mut rule);
    }
    if let (Target::Unknown(name), Some(to)) = (&rule.target, reader.dnat)
        && name == "DNAT"
    {
        rule.target = Target::Dnat(to);
    }
    rule
}

/// Splits as iptables-restore does: at blanks, but for what stands in quotes.
pub(super) fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => (quoted, begun) = (!quoted, true),
            '\\' if quoted => word.extend(letters.next()),
            ' ' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            letter => {
                word.push(letter);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

struct Reader<'a> {
    words: &'a [String],
    at: usize,
    /// Whether the next condition must hold: `!` turns it round.
    holds: bool,
    dnat: Option<EndpointAddr>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.at)?;
        self.at += 1;
        Some(word)
    }

    fn value(&mut self) -> &'a str {
        self.next().unwrap_or_default()
    }

    fn option(&mut self, word: &str, rule: &mut Rule) {
        let holds = std::mem::replace(&mut self.holds, true);
        let found = match word {
            "!" => {
                self.holds = false;
                return;
            }
            "-j" => return rule.target = target(self.value()),
            "-g" => return rule.target = Target::Goto(self.value().to_owned()),
            "--comment" => return rule.comment = Some(self.value().to_owned()),
            "--to-destination" => return self.dnat = endpoint(self.value()),
            "--set-xmark" | "--set-mark" => return rule.target = set_mark(word, self.value()),
            "--random-fully" | "--rsource" | "--reap" | "--rcheck" => return,
            "--reject-with" | "--mode" | "--name" | "--nfacct-name" => {
                self.value();
                return;
            }
            "-m" => match self.value() {
                "comment" | "tcp" | "udp" | "sctp" | "addrtype" | "mark" | "conntrack" | "statistic" | "nfacct" => {
                    return;
                }
                "recent" => self.recent(),
                other => Match::Unknown(format!("-m {other}")),
            },
            _ => self.condition(word, holds),
        };
        rule.matches.push(found);
    }

    fn condition(&mut self, word: &str, holds: bool) -> Match {
        let unknown = Match::Unknown(word.to_owned());
        match word {
            "-s" => net(self.value()).map_or(unknown, |net| Match::Source(net, holds)),
            "-d" => net(self.value()).map_or(unknown, |net| Match::Destination(net, holds)),
            "-p" => protocol(self.value()).map_or(unknown, |number| Match::Protocol(number, holds)),
            "--dport" => ports(self.value()).map_or(unknown, |(low, high)| Match::DestinationPort(low, high, holds)),
            "-i" => Match::Interface(name(self.value()), holds),
            "-o" => {
                self.value();
                Match::OutInterface
            }
            "--src-type" if self.value() == "LOCAL" => Match::SourceIsLocal(holds),
            "--dst-type" if self.value() == "LOCAL" => Match::DestinationIsLocal(holds),
            "--mark" => match masked(self.value()) {
                Some((value, mask)) => Match::Mark { value, mask, holds },
                None => unknown,
            },
            "--ctstate" => Match::State(self.value().split(',').map(str::to_owned).collect(), holds),
            "--probability" => {
                self.value();
                Match::Random
            }
            _ => unknown,
        }
    }

    /// `-m recent`: asks (`--rcheck`) or notes (`--set`). All of its words are taken.
    fn recent(&mut self) -> Match {
        let (mut asks, mut seconds) = (false, 0);
        while let Some(word) = self.words.get(self.at).filter(|word| *word != "-j" && *word != "-m" && *word != "-p") {
            self.at += 1;
            match word.as_str() {
                "--rcheck" | "--update" => asks = true,
                "--seconds" => seconds = self.value().parse().unwrap_or_default(),
                "--name" | "--mask" | "--hitcount" => drop(self.value()),
                _ => {}
            }
        }
        if asks { Match::Learned(seconds) } else { Match::Always }
    }
}

fn target(name: &str) -> Target {
    match name {
        "ACCEPT" => Target::Accept,
        "DROP" => Target::Drop,
        "RETURN" => Target::Return,
        "REJECT" => Target::Reject,
        "MASQUERADE" => Target::Masquerade,
        // Extensions are in capitals without a dash; a chain may be too, and is then told by being there.
        extension if extension.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_') => {
            Target::Unknown(extension.to_owned())
        }
        chain => Target::Jump(chain.to_owned()),
    }
}

/// `--set-xmark V/M` clears M and flips V; `--set-mark V/M` clears M and V's bits and sets V.
fn set_mark(option: &str, text: &str) -> Target {
    match masked(text) {
        Some((value, mask)) if option == "--set-xmark" => Target::SetMark { value, mask },
        Some((value, mask)) => Target::SetMark { value, mask: mask | value },
        None => Target::Unknown("MARK".to_owned()),
    }
}

fn masked(text: &str) -> Option<(u32, u32)> {
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    Some((number(value)?, number(mask)?))
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn endpoint(text: &str) -> Option<EndpointAddr> {
    text.parse::<std::net::SocketAddr>().ok().map(|to| EndpointAddr { ip: to.ip(), port: to.port() })
}

fn protocol(text: &str) -> Option<u8> {
    let named = match text {
        "all" => Some(0),
        "tcp" => Some(Protocol::Tcp.number()),
        "udp" => Some(Protocol::Udp.number()),
        "sctp" => Some(Protocol::Sctp.number()),
        "icmp" => Some(1),
        "ipv6-icmp" => Some(58),
        _ => None,
    };
    named.or_else(|| text.parse().ok())
}

fn ports(text: &str) -> Option<(u16, u16)> {
    let (low, high) = text.split_once(':').unwrap_or((text, text));
    Some((low.parse().ok()?, high.parse().ok()?))
}

fn name(text: &str) -> Name {
    match text.strip_suffix('+') {
        Some(prefix) => Name { text: prefix.to_owned(), is_prefix: true },
        None => Name { text: text.to_owned(), is_prefix: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_blanks_together() {
        assert_eq!(
            words(r#"-m comment --comment "a \"b\" c" -j X"#),
            ["-m", "comment", "--comment", r#"a "b" c"#, "-j", "X"]
        );
        assert_eq!(words(r#"--comment "" -j X"#), ["--comment", "", "-j", "X"]);
    }

    #[test]
    fn a_frontends_rule_is_read_whole() {
        let text = r#"! -s 10.244.0.0/16 -d 10.96.0.1/32 -p tcp -m comment --comment "default/web:t cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ"#;
        let rule = rule(text);
        let net = |text: &str| text.parse().unwrap();
        assert_eq!(
            rule.matches,
            [
                Match::Source(net("10.244.0.0/16"), false),
                Match::Destination(net("10.96.0.1/32"), true),
                Match::Protocol(6, true),
                Match::DestinationPort(80, 80, true)
            ]
        );
        assert_eq!(
            (rule.comment.as_deref(), rule.target),
            (Some("default/web:t cluster IP"), Target::Jump("KUBE-MARK-MASQ".into()))
        );
    }

    #[test]
    fn affinity_and_chance_are_told_apart() {
        let asked = rule(
            "-m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-A --mask 255.255.255.255 --rsource -j KUBE-SEP-A",
        );
        assert_eq!((asked.matches, asked.target), (vec![Match::Learned(10800)], Target::Jump("KUBE-SEP-A".into())));
        let noted = rule(
            "-p tcp -m recent --set --name KUBE-SEP-A --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 10.0.0.1:80",
        );
        let to = EndpointAddr { ip: [10, 0, 0, 1].into(), port: 80 };
        assert_eq!((noted.matches, noted.target), (vec![Match::Protocol(6, true), Match::Always], Target::Dnat(to)));
        assert_eq!(rule("-m statistic --mode random --probability 0.5 -j KUBE-SEP-B").matches, [Match::Random]);
    }

    #[test]
    fn marks_are_set_and_flipped() {
        assert_eq!(rule("-j MARK --set-xmark 0x4000/0x4000").target, Target::SetMark { value: 0x4000, mask: 0x4000 });
        assert_eq!(rule("-j MARK --set-xmark 0x4000/0x0").target, Target::SetMark { value: 0x4000, mask: 0 });
        assert_eq!(
            rule("-m mark ! --mark 0x4000/0x4000 -j RETURN").matches,
            [Match::Mark { value: 0x4000, mask: 0x4000, holds: false }]
        );
    }

    #[test]
    fn what_is_not_known_stays_and_is_named() {
        assert_eq!(
            rule("-m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT").matches[0],
            Match::Unknown("-m set".into())
        );
        assert_eq!(rule("-j TPROXY --on-port 1").target, Target::Unknown("TPROXY".into()));
    }
}
