//! What must not be answered: refused at once where there is nobody to answer, silence where there is nothing.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::go_on;
use crate::lab::{AT_ONCE, Place, Refusal};
use crate::paint::{check, duration, step};
use crate::stage::Stage;

/// Long enough for an answer in a lab that answers in less than a millisecond.
const SILENCE: Duration = Duration::from_millis(150);

const REFUSED: [(&str, bool, [&str; 2]); 3] = [
    ("a service without endpoints, TCP", false, ["10.96.0.99:80", "[fd00:10:96::99]:80"]),
    ("a service without endpoints, UDP", true, ["10.96.0.99:53", "[fd00:10:96::99]:53"]),
    ("a port that web has not got, TCP", false, ["10.96.0.80:81", "[fd00:10:96::80]:81"]),
];
const NOBODY: [&str; 2] = ["10.96.0.200:80", "[fd00:10:96::200]:80"];

/// Prints how each attempt fared; answers how many are wrong.
pub(crate) fn show(stage: &Stage) -> Result<usize> {
    step(5, "what must be refused, is refused at once");
    let mut wrong = 0;
    for place in [Place::Pod(3), Place::Node, Place::Outside] {
        for (what, udp, addresses) in REFUSED {
            go_on()?;
            wrong += refused(stage, place, what, udp, addresses);
        }
    }
    for address in NOBODY {
        let outcome = stage.lab.tcp(Place::Pod(3), address, SILENCE);
        let claim = format!("pod3     an address of no service      {address:<21} dropped");
        wrong += check(outcome == Err(Refusal::TimedOut), &claim);
    }
    Ok(wrong)
}

fn refused(stage: &Stage, place: Place, what: &str, udp: bool, addresses: [&str; 2]) -> usize {
    let mut wrong = 0;
    for address in addresses {
        let begun = Instant::now();
        let outcome = if udp { stage.lab.udp(place, address, AT_ONCE) } else { stage.lab.tcp(place, address, AT_ONCE) };
        let result = match &outcome {
            Err(refusal) => format!("{refusal} after {}", duration(begun.elapsed())),
            Ok(answer) => format!("{} answered", answer.name),
        };
        let from = format!("{place:?}").to_lowercase().replace(['(', ')'], "");
        wrong += check(outcome == Err(Refusal::Refused), &format!("{from:<8} {what} {address:<19} {result}"));
    }
    wrong
}
