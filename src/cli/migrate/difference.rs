//! What `migrate verify` found, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::answer::Answer;
use super::reason::Reason;
use crate::model::EndpointAddr;

/// More endpoints are counted and not named, but for those that one side alone has.
const MOST_NAMED: usize = 6;

/// The outcome of a comparison.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The rules of kube-proxy that were asked.
    pub(super) rules: Vec<String>,
    /// Frontends compared.
    pub(super) frontends: usize,
    /// Packets asked about.
    pub(super) questions: usize,
    /// Where the answers differ.
    pub(super) differences: Vec<Difference>,
    /// What could not be judged.
    pub(super) unread: Vec<String>,
}

/// One frontend that some senders find different.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// `namespace/name:port`, if somebody knows it.
    pub(super) service: Option<String>,
    /// The frontend.
    pub(super) frontend: String,
    /// Who asked, and at which address where there are several.
    pub(super) from: Vec<String>,
    /// What kube-proxy's rules do.
    pub(super) kube_proxy: Side,
    /// What ferroproxy's would.
    pub(super) ferroproxy: Side,
    /// Why, if that is known.
    pub(super) reason: Option<Reason>,
}

/// What one side does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// With packets.
    Answer(Answer),
    /// How long clients stick to an endpoint, in seconds.
    Sticky(Option<u64>),
}

/// Collects the differences of one frontend; those alike are told once.
#[derive(Debug, Default)]
pub(super) struct Collector(BTreeMap<(Side, Side, Option<Reason>), Vec<String>>);

impl Collector {
    /// Keeps both answers if they differ; with the reason, if there is one.
    pub(super) fn compare(
        &mut self,
        from: impl FnOnce() -> String,
        (kube_proxy, ferroproxy): (Side, Side),
        reason: impl FnOnce(&Side, &Side) -> Option<Reason>,
    ) {
        if kube_proxy != ferroproxy {
            let reason = reason(&kube_proxy, &ferroproxy);
            self.0.entry((kube_proxy, ferroproxy, reason)).or_default().push(from());
        }
    }

    /// The differences of this frontend.
    pub(super) fn finish(self, service: Option<&str>, frontend: &str) -> impl Iterator<Item = Difference> {
        let (service, frontend) = (service.map(str::to_owned), frontend.to_owned());
        self.0.into_iter().map(move |((kube_proxy, ferroproxy, reason), from)| Difference {
            service: service.clone(),
            frontend: frontend.clone(),
            from,
            kube_proxy,
            ferroproxy,
            reason,
        })
    }
}

impl Difference {
    /// Whether it comes with the choice of another mode.
    pub(super) fn is_of_mode(&self) -> bool {
        self.reason.as_ref().is_some_and(|reason| reason.is_of_mode)
    }
}

impl Report {
    /// How many differences count.
    pub(super) fn counted(&self) -> usize {
        self.differences.iter().filter(|difference| !difference.is_of_mode()).count()
    }

    /// Whether both decide alike, as far as was asked.
    pub(super) fn is_same(&self) -> bool {
        self.counted() == 0 && self.unread.is_empty()
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let mut told = None;
        for difference in &self.differences {
            let title = (difference.service.as_deref(), difference.frontend.as_str());
            if told != Some(title) {
                line(
                    &mut out,
                    0,
                    &format!("{}{}", title.0.map(|name| format!("{name}, ")).unwrap_or_default(), title.1),
                );
                told = Some(title);
            }
            let (theirs, ours) = (&difference.kube_proxy, &difference.ferroproxy);
            if !difference.from.is_empty() {
                line(&mut out, 2, &format!("from {}", difference.from.join("; ")));
            }
            line(&mut out, 4, &format!("kube-proxy: {}", words(theirs, ours)));
            line(&mut out, 4, &format!("ferroproxy: {}", words(ours, theirs)));
            if let Some(reason) = &difference.reason {
                let what = if reason.is_of_mode { "the modes differ" } else { "why" };
                line(&mut out, 4, &format!("{what}: {}", reason.text));
            }
        }
        for unread in &self.unread {
            line(&mut out, 0, &format!("not judged: {unread}"));
        }
        let (rules, frontends, questions) = (self.rules.join(", "), self.frontends, self.questions);
        let verdict = self.verdict();
        line(&mut out, 0, &format!("{verdict}: {frontends} frontends, {questions} packets asked about; {rules}"));
        out
    }

    fn verdict(&self) -> String {
        let verdict = match (self.counted(), self.unread.len()) {
            (0, 0) => "the same".to_owned(),
            (0, unread) => format!("the same as far as it could be judged ({unread} could not)"),
            (1, _) => "1 difference".to_owned(),
            (differences, _) => format!("{differences} differences"),
        };
        match self.differences.len() - self.counted() {
            0 => verdict,
            of_modes => format!("{verdict}, apart from what the modes differ in ({of_modes})"),
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let side = |side: &Side| match side {
            Side::Sticky(seconds) => json!({ "sessionAffinitySeconds": seconds }),
            Side::Answer(answer) => json!({
                "verdict": answer.word(),
                "endpoints": answer.endpoints().map(|(to, masqueraded)| json!({
                    "address": to.to_string(),
                    "masqueraded": masqueraded,
                })).collect::<Vec<_>>(),
            }),
        };
        let difference = |difference: &Difference| {
            json!({
                "service": difference.service,
                "frontend": difference.frontend,
                "from": difference.from,
                "kubeProxy": side(&difference.kube_proxy),
                "ferroproxy": side(&difference.ferroproxy),
                "why": difference.reason.as_ref().map(|reason| &reason.text),
                "ofMode": difference.is_of_mode(),
            })
        };
        json!({
            "same": self.is_same(),
            "rules": self.rules,
            "frontends": self.frontends,
            "questions": self.questions,
            "differences": self.differences.iter().map(difference).collect::<Vec<_>>(),
            "notJudged": self.unread,
        })
    }
}

fn line(out: &mut String, indent: usize, text: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{:indent$}{text}", "");
}

fn words(side: &Side, other: &Side) -> String {
    match (side, other) {
        (Side::Sticky(None), _) => "clients do not stick to an endpoint".to_owned(),
        (Side::Sticky(Some(seconds)), _) => format!("clients stick to an endpoint for {seconds} s"),
        (Side::Answer(answer @ Answer::Delivered(endpoints)), Side::Answer(other)) => {
            delivered(answer, endpoints.len(), other)
        }
        (Side::Answer(answer), _) => answer.word().to_owned(),
    }
}

/// The endpoints by name if they are few, else those that the other side does not have just so.
fn delivered(answer: &Answer, count: usize, other: &Answer) -> String {
    let (uniform, others) = (uniformly(answer), other.endpoints().collect::<BTreeMap<&EndpointAddr, bool>>());
    let name = |(to, masqueraded): (&EndpointAddr, bool)| match (uniform, masqueraded) {
        (None, true) => format!("{to} masqueraded"),
        _ => to.to_string(),
    };
    let source = if uniform == Some(true) { ", masqueraded" } else { "" };
    if count <= MOST_NAMED {
        let names: Vec<String> = answer.endpoints().map(name).collect();
        return format!("{}{source}", names.join(", "));
    }
    // Where a whole side is masqueraded and the other is not, that is said once.
    let by_address = uniform.is_some() && uniformly(other).is_some();
    let is_alike =
        |to: &EndpointAddr, masqueraded| others.get(to).is_some_and(|theirs| by_address || *theirs == masqueraded);
    let only: Vec<String> =
        answer.endpoints().filter(|(to, masqueraded)| !is_alike(to, *masqueraded)).map(name).collect();
    let only = match only.len() {
        0 => String::new(),
        1..=MOST_NAMED => format!("; unlike the other: {}", only.join(", ")),
        many => format!("; unlike the other: {many} of them, such as {}", only[0]),
    };
    format!("{count} endpoints{source}{only}")
}

/// Whether all packets are masqueraded, or none; `None` when some are.
fn uniformly(answer: &Answer) -> Option<bool> {
    let mut all = answer.endpoints().map(|(_, masqueraded)| masqueraded);
    let first = all.next()?;
    all.all(|masqueraded| masqueraded == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(ports: std::ops::Range<u16>, masqueraded: impl Fn(u16) -> bool) -> Side {
        let endpoint = |port| (EndpointAddr { ip: [10, 0, 0, 1].into(), port }, masqueraded(port));
        Side::Answer(Answer::Delivered(ports.map(endpoint).collect()))
    }

    #[test]
    fn few_endpoints_are_named_and_of_many_those_that_differ() {
        assert_eq!(words(&to(1..3, |_| true), &to(1..2, |_| true)), "10.0.0.1:1, 10.0.0.1:2, masqueraded");
        assert_eq!(words(&to(1..10, |_| false), &to(1..9, |_| false)), "9 endpoints; unlike the other: 10.0.0.1:9");
        assert_eq!(words(&to(1..10, |_| true), &to(1..10, |_| false)), "9 endpoints, masqueraded");
        let one = to(1..10, |port| port == 4);
        assert_eq!(words(&one, &to(1..10, |_| false)), "9 endpoints; unlike the other: 10.0.0.1:4 masqueraded");
        assert_eq!(words(&to(1..10, |_| false), &one), "9 endpoints; unlike the other: 10.0.0.1:4");
    }

    #[test]
    fn answers_that_differ_alike_are_told_once() {
        let mut collector = Collector::default();
        let refused = || (to(1..2, |_| false), Side::Answer(Answer::Refused));
        collector.compare(|| "a pod".to_owned(), refused(), |_, _| None);
        collector.compare(|| "outside".to_owned(), refused(), |_, _| None);
        collector.compare(|| "the node".to_owned(), (to(1..2, |_| true), to(1..2, |_| true)), |_, _| None);
        let differences = collector.finish(Some("ns/web"), "10.96.0.1:80/tcp").collect();
        let report =
            Report { rules: vec!["rules".to_owned()], frontends: 1, questions: 3, differences, unread: Vec::new() };
        assert_eq!(
            report.text(),
            "ns/web, 10.96.0.1:80/tcp\n  from a pod; outside\n    kube-proxy: 10.0.0.1:1\n    ferroproxy: refused\n\
             1 difference: 1 frontends, 3 packets asked about; rules\n"
        );
        assert!(!report.is_same());
    }

    #[test]
    fn what_the_modes_differ_in_is_told_and_counts_for_nothing() {
        let reason = Reason { text: "because".to_owned(), is_of_mode: true };
        let sides = (Side::Answer(Answer::Dropped), Side::Answer(Answer::LeftAlone));
        let mut collector = Collector::default();
        collector.compare(|| "a pod".to_owned(), sides, |_, _| Some(reason));
        let differences = collector.finish(None, "a cluster IP that no Service has").collect();
        let report = Report { frontends: 1, questions: 1, differences, ..Report::default() };
        assert!(report.is_same() && report.text().contains("    the modes differ: because\n"), "{}", report.text());
        assert!(report.text().contains("the same, apart from what the modes differ in (1): "), "{}", report.text());
        assert_eq!((&report.json()["same"], &report.json()["differences"][0]["ofMode"]), (&true.into(), &true.into()));
    }
}
