//! `ferroproxy migrate verify`: the same questions to the rules kube-proxy has in the kernel and to those ferroproxy would write.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};

use super::answer::{Answer, of_walker};
use super::difference::{Collector, Report, Side};
use super::questions::{Asker, Known, Question, Scene};
use crate::agent::plan;
use crate::cli::args::Output;
use crate::cli::explain::rules::compiled;
use crate::cli::gather::{gather, reject, say};
use crate::cli::{DIFFERENT, OK, TROUBLE};
use crate::compile::seed::Seed;
use crate::compile::walk::{self, Origin, Programs, possible_destinations};
use crate::model::{Config, EndpointAddr, Event, Family, ProxyMode, SourceConfig};
use crate::peer::{self, Frontend, Left};
use crate::source::addresses;

/// kube-proxy may lag behind the cluster: differences count if they are still there after so many looks.
const LOOKS: usize = 3;
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Prints the differences on stdout.
pub(in crate::cli) fn verify(config: &Config, output: Output) -> anyhow::Result<u8> {
    if config.mode == ProxyMode::Iptables {
        bail!(
            "verify compares with the rules of nftables mode (--proxy-mode=nftables); in iptables mode ferroproxy takes kube-proxy's chains over \
             as they are, and `ferroproxy diff` shows what it would change in them"
        );
    }
    let looks = if matches!(config.source, SourceConfig::Api(_)) { LOOKS } else { 1 };
    let mut report = look(config)?;
    for _ in 1..looks {
        if report.differences.is_empty() {
            break;
        }
        std::thread::sleep(PAUSE);
        report = look(config)?;
    }
    say(&match output {
        Output::Text => report.text(),
        Output::Json => format!("{:#}\n", report.json()),
    })?;
    Ok(match (report.differences.is_empty(), report.unread.is_empty()) {
        (false, _) => DIFFERENT,
        (true, false) => TROUBLE,
        (true, true) => OK,
    })
}

fn look(config: &Config) -> anyhow::Result<Report> {
    let found = peer::find().context("cannot read kube-proxy's rules (it needs root or CAP_NET_ADMIN)")?;
    if found.is_empty() {
        bail!("kube-proxy has no rules in this kernel: there is nothing to compare with");
    }
    if let Some(left) = found.iter().find(|left| left.is_ipvs()) {
        bail!("kube-proxy runs in ipvs mode here ({left}), where no rule tells which endpoints a packet may reach");
    }
    let mut state = gather(config)?;
    state.apply(Event::LocalAddresses(addresses::local()?));
    let (compiler, rejections) = plan(config, state.snapshot(), &Family::ALL, Seed::default());
    rejections.iter().for_each(reject);
    let scene = Scene::new(config, state.snapshot(), &compiler);
    let mut report = Report::default();
    for left in &found {
        report.rules.push(left.to_string());
        compare(&scene, left, &compiled(&compiler, left.family), &mut report);
    }
    // What belongs together stands together; frontends keep their order.
    report.differences.sort_by(|one, other| one.service.cmp(&other.service));
    for family in Family::ALL {
        let count = scene.frontends(family).len();
        if count > 0 && !found.iter().any(|left| left.family == family) {
            report.unread.push(format!("kube-proxy has no {family} rules; ferroproxy would serve {count} frontends"));
        }
    }
    Ok(report)
}

fn compare(scene: &Scene<'_>, left: &Left, programs: &Programs, report: &mut Report) {
    let (mut frontends, theirs) = (scene.frontends(left.family), left.frontends());
    for (frontend, name) in theirs {
        frontends.entry(frontend).or_insert(Known { name, service: None });
    }
    report.frontends += frontends.len();
    let (asker, stickiness) = (Asker::new(scene, left), left.stickiness());
    let mut unread = BTreeMap::<String, usize>::new();
    for (frontend, known) in &frontends {
        let mut collector = Collector::default();
        for question in asker.questions(frontend, known) {
            report.questions += 1;
            match ask(scene, left, programs, &question) {
                Ok((theirs, ours)) => {
                    collector.compare(|| told(frontend, &question), Side::Answer(theirs), Side::Answer(ours));
                }
                Err(reason) => *unread.entry(reason).or_default() += 1,
            }
        }
        // Only frontends that lead somewhere have clients to stick.
        if let (Some(service), Some(theirs)) = (known.service, stickiness.get(frontend)) {
            let ours = service.affinity.map(u64::from);
            collector.compare(|| "anywhere".to_owned(), Side::Sticky(*theirs), Side::Sticky(ours));
        }
        report.differences.extend(collector.finish(known.name.as_deref(), &frontend.to_string()));
    }
    report.unread.extend(unread.into_iter().map(|(reason, packets)| format!("{left}: {reason} ({packets} packets)")));
}

/// Both answers, kube-proxy's first.
fn ask(scene: &Scene<'_>, left: &Left, programs: &Programs, question: &Question) -> Result<(Answer, Answer), String> {
    let packet = &question.packet;
    let asked = EndpointAddr { ip: packet.destination, port: packet.port };
    let theirs = left.outcomes(packet, &scene.around.local_addresses).map_err(|unread| unread.to_string())?;
    let ours = possible_destinations(programs, &of_peer(packet), &scene.around).map_err(|fault| fault.to_string())?;
    let (theirs, ours) = (Answer::of(&theirs, asked), Answer::of(&of_walker(ours), asked));
    // At an address of the node, where nobody listens, what no rule touches is refused by the node itself.
    let refusals = [Answer::Refused, Answer::LeftAlone];
    let same = scene.around.is_local(asked.ip) && refusals.contains(&theirs) && refusals.contains(&ours);
    Ok(if same { (theirs.clone(), theirs) } else { (theirs, ours) })
}

fn of_peer(packet: &peer::Packet) -> walk::Packet {
    walk::Packet {
        source: packet.source,
        destination: packet.destination,
        protocol: packet.protocol.number(),
        source_port: 40_000,
        destination_port: packet.port,
        mark: 0,
        input_interface: packet.interface.clone(),
        origin: if packet.from_node { Origin::FromNode } else { Origin::Forwarded },
    }
}

/// Who asked; of a node port also at which address.
fn told(frontend: &Frontend, question: &Question) -> String {
    match frontend.ip {
        Some(_) => question.sender.clone(),
        None => format!("{} to {}", question.sender, question.packet.destination),
    }
}
