//! `ferroproxy migrate verify`: the same questions to the rules kube-proxy has in the kernel and to those ferroproxy would write.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};

use super::answer::Answer;
use super::difference::{Collector, Report, Side};
use super::misses::misses;
use super::questions::{Asker, Known, Question, Scene};
use super::reason::{Asked, Modes, reason};
use crate::cli::args::Output;
use crate::cli::gather::{gather, reject, say};
use crate::cli::planned::{Planned, Rules};
use crate::cli::{DIFFERENT, OK, TROUBLE};
use crate::model::{Config, EndpointAddr, Event, Family, PerFamily, SourceConfig};
use crate::peer::{self, Frontend, Left};
use crate::source::addresses;

/// kube-proxy may lag behind the cluster: differences count if they are still there after so many looks.
const LOOKS: usize = 3;
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Prints the differences on stdout.
pub(in crate::cli) fn verify(config: &Config, output: Output) -> anyhow::Result<u8> {
    let looks = if matches!(config.source, SourceConfig::Api(_)) { LOOKS } else { 1 };
    let mut report = look(config)?;
    for _ in 1..looks {
        if report.counted() == 0 {
            break;
        }
        std::thread::sleep(PAUSE);
        report = look(config)?;
    }
    say(&match output {
        Output::Text => report.text(),
        Output::Json => format!("{:#}\n", report.json()),
    })?;
    Ok(match (report.counted() == 0, report.unread.is_empty()) {
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
    let (planned, rejections) = Planned::new(config, state.snapshot());
    rejections.iter().for_each(reject);
    let scene = Scene::new(config, state.snapshot(), &planned);
    let rules = PerFamily::from_fn(|family| planned.rules(family));
    let mut report = Report::default();
    for left in &found {
        report.rules.push(left.to_string());
        compare(&scene, left, rules.get(left.family), &mut report);
    }
    // What belongs together stands together, what counts for nothing at the end; frontends keep their order.
    report
        .differences
        .sort_by(|one, other| (one.is_of_mode(), &one.service).cmp(&(other.is_of_mode(), &other.service)));
    for family in Family::ALL {
        let count = scene.frontends(family).len();
        if count > 0 && !found.iter().any(|left| left.family == family) {
            report.unread.push(format!("kube-proxy has no {family} rules; ferroproxy would serve {count} frontends"));
        }
    }
    Ok(report)
}

/// One look at rules of kube-proxy's and those of ours.
struct Comparison<'a> {
    scene: &'a Scene<'a>,
    left: &'a Left,
    ours: &'a Rules,
    asker: Asker<'a>,
    modes: Modes,
    /// What could not be judged, and for how many packets.
    unread: BTreeMap<String, usize>,
}

fn compare(scene: &Scene<'_>, left: &Left, ours: &Rules, report: &mut Report) {
    let (mut frontends, theirs) = (scene.frontends(left.family), left.frontends());
    for (frontend, name) in theirs {
        frontends.entry(frontend).or_insert(Known { name, service: None });
    }
    report.frontends += frontends.len();
    let modes = Modes { kube_proxy: left.mode(), ferroproxy: scene.config.mode };
    let (asker, stickiness) = (Asker::new(scene, left), left.stickiness());
    let mut comparison = Comparison { scene, left, ours, asker, modes, unread: BTreeMap::new() };
    for (frontend, known) in &frontends {
        let mut collector = comparison.ask_all(frontend, known, false, report);
        // Only frontends that lead somewhere have clients to stick.
        if let (Some(service), Some(theirs)) = (known.service, stickiness.get(frontend)) {
            let sides = (Side::Sticky(*theirs), Side::Sticky(service.affinity.map(u64::from)));
            collector.compare(|| "anywhere".to_owned(), sides, |_, _| None);
        }
        report.differences.extend(collector.finish(known.name.as_deref(), &frontend.to_string()));
    }
    for (frontend, what) in misses(scene, left.family, &frontends) {
        let collector = comparison.ask_all(&frontend, &Known::default(), true, report);
        report.differences.extend(collector.finish(None, &format!("{what}, {frontend}")));
    }
    let unread = comparison.unread.into_iter();
    report.unread.extend(unread.map(|(reason, packets)| format!("{left}: {reason} ({packets} packets)")));
}

impl Comparison<'_> {
    /// All questions about a frontend, to both.
    fn ask_all(&mut self, frontend: &Frontend, known: &Known<'_>, is_miss: bool, report: &mut Report) -> Collector {
        let mut collector = Collector::default();
        for question in self.asker.questions(frontend, known) {
            report.questions += 1;
            let (at, from_node) = (question.packet.destination, question.packet.from_node);
            let asked = Asked { frontend, at, from_node, is_miss };
            let why = |theirs: &Side, ours: &Side| match (theirs, ours) {
                (Side::Answer(theirs), Side::Answer(ours)) => reason(self.modes, asked, theirs, ours),
                _ => None,
            };
            match self.ask(&question) {
                Ok((theirs, ours)) => {
                    let sides = (Side::Answer(theirs), Side::Answer(ours));
                    collector.compare(|| told(frontend, &question), sides, why);
                }
                Err(reason) => *self.unread.entry(reason).or_default() += 1,
            }
        }
        collector
    }

    /// Both answers, kube-proxy's first.
    fn ask(&self, question: &Question) -> Result<(Answer, Answer), String> {
        let (packet, around) = (&question.packet, &self.scene.around);
        let asked = EndpointAddr { ip: packet.destination, port: packet.port };
        let theirs = self.left.outcomes(packet, &around.local_addresses).map_err(|unread| unread.to_string())?;
        let ours = self.ours.outcomes(packet, around)?;
        let (theirs, ours) = (Answer::of(&theirs, asked), Answer::of(&ours, asked));
        // At an address of the node, where nobody listens, what no rule touches is refused by the node itself.
        let refusals = [Answer::Refused, Answer::LeftAlone];
        let same = around.is_local(asked.ip) && refusals.contains(&theirs) && refusals.contains(&ours);
        Ok(if same { (theirs.clone(), theirs) } else { (theirs, ours) })
    }
}

/// Who asked; of a node port also at which address.
fn told(frontend: &Frontend, question: &Question) -> String {
    match frontend.ip {
        Some(_) => question.sender.clone(),
        None => format!("{} to {}", question.sender, question.packet.destination),
    }
}
