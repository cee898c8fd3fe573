//! Packets through the text that `iptables-restore` is told. Knows what a netfilter kernel does with it, and nothing of how it came about; a
//! word it does not know is a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ferroproxy::agent::plan_iptables;
use ferroproxy::compile::expr::RejectWith;
use ferroproxy::compile::iptables::words;
use ferroproxy::compile::walk::{Environment, Fate, Origin, Outcome, Packet};
use ferroproxy::model::{Config, EndpointAddr, Family};
use ferroproxy::state::Snapshot;
use ipnet::IpNet;

type Chains = BTreeMap<String, Vec<Vec<String>>>;

/// The tables of both families.
pub(crate) struct Rules(BTreeMap<(Family, String), Chains>);

/// Which clients each endpoint's list remembers, as `recent` does. Time does not pass.
pub(crate) type Recent = BTreeSet<(String, IpAddr)>;

impl Rules {
    /// The text of what is known.
    pub(crate) fn of(config: &Config, objects: &Snapshot) -> Rules {
        Rules::parse(&plan_iptables(config, objects, &Family::ALL).0.render().to_string())
    }

    fn parse(text: &str) -> Rules {
        let (mut tables, mut family, mut table) = (BTreeMap::<_, Chains>::new(), Family::V4, String::new());
        for line in text.lines() {
            let mut words = words(line);
            let verb = words.remove(0);
            let chains = tables.entry((family, table.clone())).or_default();
            match &*verb {
                "#" => family = if words[0] == "iptables-restore" { Family::V4 } else { Family::V6 },
                "-A" => chains.get_mut(&words.remove(0)).expect("a chain").push(words),
                "-I" => chains.entry(words.remove(0)).or_default().insert(0, words),
                "COMMIT" => {}
                verb if verb.starts_with('*') => table = verb[1..].to_owned(),
                verb if verb.starts_with(':') => drop(chains.insert(verb[1..].to_owned(), Vec::new())),
                verb => panic!("{verb}: {line}"),
            }
        }
        Rules(tables)
    }

    /// What may become of a packet when nobody is remembered. Every outcome must have the same chance, and no bit of the mark but ours may
    /// change.
    pub(crate) fn outcomes(&self, packet: &Packet, around: &Environment, ours: u32) -> BTreeSet<Outcome> {
        let mut chances = BTreeMap::<Outcome, f64>::new();
        let mut draws = Vec::new();
        loop {
            let mut walk = Walk::new(self, packet, around, &mut draws);
            let outcome = walk.run(&mut Recent::new());
            assert_eq!(walk.mark & !ours, packet.mark & !ours, "other bits of the mark: {packet:?}");
            assert!(!outcome.masqueraded || walk.mark & ours == 0, "the bit outlives the masquerade: {packet:?}");
            *chances.entry(outcome).or_default() += walk.chance;
            // The last draw that has not come out the other way yet does so; those after it begin anew.
            while draws.pop_if(|drawn| !*drawn).is_some() {}
            match draws.last_mut() {
                Some(last) => *last = false,
                None => break,
            }
        }
        let fair = 1.0 / chances.len() as f64;
        assert!(chances.values().all(|chance| (chance - fair).abs() < 1e-6), "unequal shares: {packet:?}: {chances:?}");
        chances.into_keys().collect()
    }

    /// What becomes of a packet that comes after others; `draws` are how its draws come out, at most so many.
    pub(crate) fn next(&self, packet: &Packet, around: &Environment, draws: &[bool], recent: &mut Recent) -> Outcome {
        Walk::new(self, packet, around, &mut draws.to_vec()).run(recent)
    }
}

/// How a chain or a hook ended.
enum End {
    /// At its end, or by RETURN.
    Through,
    /// The packet goes on to the next hook.
    Accepted,
    Dropped,
    Rejected(RejectWith),
}

struct Walk<'a> {
    rules: &'a Rules,
    packet: Packet,
    around: &'a Environment,
    draws: &'a mut Vec<bool>,
    drawn: usize,
    chance: f64,
    mark: u32,
    dnated: bool,
    masqueraded: bool,
}

impl<'a> Walk<'a> {
    fn new(rules: &'a Rules, packet: &Packet, around: &'a Environment, draws: &'a mut Vec<bool>) -> Walk<'a> {
        let (packet, mark) = (packet.clone(), packet.mark);
        Walk { rules, packet, around, draws, drawn: 0, chance: 1.0, mark, dnated: false, masqueraded: false }
    }

    /// Through the hooks in their order.
    fn run(&mut self, recent: &mut Recent) -> Outcome {
        let fate = self.hooks(recent);
        let destination = EndpointAddr { ip: self.packet.destination, port: self.packet.destination_port };
        Outcome { fate, destination, masqueraded: self.masqueraded }
    }

    fn hooks(&mut self, recent: &mut Recent) -> Fate {
        let of_node = self.packet.origin == Origin::FromNode;
        let first: &[(&str, &str)] =
            if of_node { &[("nat", "OUTPUT"), ("filter", "OUTPUT")] } else { &[("nat", "PREROUTING")] };
        for (table, hook) in first {
            if let Some(fate) = self.hook(table, hook, recent) {
                return fate;
            }
        }
        let stays = self.around.is_local(self.packet.destination);
        // What the node says to itself leaves by one hook and comes in by the other.
        let second: &[(&str, &str)] = match (of_node, stays) {
            (true, true) => &[("nat", "POSTROUTING"), ("filter", "INPUT")],
            (true, false) => &[("nat", "POSTROUTING")],
            (false, true) => &[("filter", "INPUT")],
            (false, false) => &[("filter", "FORWARD"), ("nat", "POSTROUTING")],
        };
        let fates: Vec<Fate> = second.iter().filter_map(|(table, hook)| self.hook(table, hook, recent)).collect();
        fates.first().copied().unwrap_or(Fate::Accept)
    }

    fn hook(&mut self, table: &str, hook: &str, recent: &mut Recent) -> Option<Fate> {
        match self.chain(table, hook, recent) {
            End::Through | End::Accepted => None,
            End::Dropped => Some(Fate::Drop),
            End::Rejected(with) => Some(Fate::Reject(with)),
        }
    }

    fn chain(&mut self, table: &str, name: &str, recent: &mut Recent) -> End {
        let chains = &self.rules.0[&(self.packet.family(), table.to_owned())];
        let rules = chains.get(name).unwrap_or_else(|| panic!("no chain {name} in {table}"));
        for rule in rules {
            let Some(target) = self.target_if_matched(rule, recent) else { continue };
            match self.act(table, target, recent) {
                Some(End::Through) if target[0] == "RETURN" => return End::Through,
                Some(End::Through) | None => {}
                Some(end) => return end,
            }
        }
        End::Through
    }

    /// The words after `-j`, if everything before matches. Not every rule has a target.
    fn target_if_matched<'r>(&mut self, rule: &'r [String], recent: &mut Recent) -> Option<&'r [String]> {
        let mut words = rule.iter().map(String::as_str).enumerate();
        let mut negated = false;
        while let Some((at, word)) = words.next() {
            let mut value = || words.next().map_or_else(|| panic!("{word} has no value: {rule:?}"), |(_, word)| word);
            let matched = match word {
                "!" => {
                    negated = true;
                    continue;
                }
                "-j" => return Some(&rule[at + 1..]),
                // Loads a match; what it matches follows.
                "-m" if !["statistic", "recent"].contains(&value()) => continue,
                "-m" => match rule[at + 1].as_str() {
                    "statistic" => {
                        let said = [value(), value(), value(), value()];
                        assert_eq!(said[..3], ["--mode", "random", "--probability"]);
                        self.draw(said[3].parse().expect("a number"))
                    }
                    _ => self.recent(&mut value, recent),
                },
                "--comment" => {
                    value();
                    continue;
                }
                "-s" => value().parse::<IpNet>().expect("a network").contains(&self.packet.source),
                "-d" => value().parse::<IpNet>().expect("a network").contains(&self.packet.destination),
                "-i" => self.came_by(value()),
                "-p" => protocol(value()) == self.packet.protocol,
                "--dport" => value() == self.packet.destination_port.to_string(),
                "--dst-type" => value() == "LOCAL" && self.around.is_local(self.packet.destination),
                "--src-type" => value() == "LOCAL" && self.around.is_local(self.packet.source),
                "--ctstate" => value().split(',').any(|state| state == "NEW" || (state == "DNAT" && self.dnated)),
                "--mark" => {
                    let (bits, mask) = number_and_mask(value());
                    self.mark & mask == bits
                }
                word => panic!("{word}: {rule:?}"),
            };
            if matched == std::mem::take(&mut negated) {
                return None;
            }
        }
        None
    }

    fn came_by(&self, name: &str) -> bool {
        let by = self.packet.input_interface.as_deref().filter(|_| self.packet.origin == Origin::Forwarded);
        match name.strip_suffix('+') {
            Some(prefix) => by.is_some_and(|by| by.starts_with(prefix)),
            None => by == Some(name),
        }
    }

    /// Whether the list has the client; `--set` puts it there.
    fn recent<'w>(&mut self, value: &mut impl FnMut() -> &'w str, recent: &mut Recent) -> bool {
        let (mut sets, mut name) = (false, "");
        loop {
            match value() {
                "--set" => sets = true,
                "--rcheck" | "--reap" => {}
                "--seconds" | "--mask" => drop(value()),
                "--name" => name = value(),
                "--rsource" => break,
                word => panic!("recent {word}"),
            }
        }
        let key = (name.to_owned(), self.packet.source);
        if sets { recent.insert(key) || sets } else { recent.contains(&key) }
    }

    fn draw(&mut self, probability: f64) -> bool {
        if self.drawn == self.draws.len() {
            self.draws.push(true);
        }
        let taken = self.draws[self.drawn];
        self.drawn += 1;
        self.chance *= if taken { probability } else { 1.0 - probability };
        taken
    }

    fn act(&mut self, table: &str, target: &[String], recent: &mut Recent) -> Option<End> {
        let words: Vec<&str> = target.iter().map(String::as_str).collect();
        match words[..] {
            ["RETURN"] => Some(End::Through),
            ["ACCEPT"] => Some(End::Accepted),
            ["DROP"] => Some(End::Dropped),
            ["REJECT", "--reject-with", "tcp-reset"] => {
                assert_eq!(self.packet.protocol, 6, "only TCP is reset");
                Some(End::Rejected(RejectWith::TcpReset))
            }
            ["REJECT", "--reject-with", with] => {
                let v6 = self.packet.family() == Family::V6;
                assert_eq!(with, if v6 { "icmp6-port-unreachable" } else { "icmp-port-unreachable" });
                Some(End::Rejected(RejectWith::PortUnreachable))
            }
            ["MARK", "--set-xmark", value] => {
                let (bits, mask) = number_and_mask(value);
                self.mark = (self.mark & !mask) ^ bits;
                None
            }
            ["DNAT", "--to-destination", to] => {
                assert_eq!(table, "nat");
                let to: std::net::SocketAddr = to.parse().expect("an address and port");
                (self.packet.destination, self.packet.destination_port) = (to.ip(), to.port());
                self.dnated = true;
                Some(End::Accepted)
            }
            ["MASQUERADE", "--random-fully"] => {
                self.masqueraded = true;
                Some(End::Accepted)
            }
            [chain] => Some(self.chain(table, chain, recent)),
            ref words => panic!("{words:?}"),
        }
    }
}

fn protocol(name: &str) -> u8 {
    match name {
        "tcp" => 6,
        "udp" => 17,
        "sctp" => 132,
        name => panic!("protocol {name}"),
    }
}

fn number_and_mask(text: &str) -> (u32, u32) {
    let number = |text: &str| u32::from_str_radix(text.trim_start_matches("0x"), 16).expect("a number");
    let (bits, mask) = text.split_once('/').expect("a mask");
    (number(bits), number(mask))
}
