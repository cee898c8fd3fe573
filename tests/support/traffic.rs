//! Clients everywhere that never stop asking, and connections that stay open.

use std::time::Duration;

use super::lab::{Connection, Lab, PATIENCE, Place, Steady};

/// Between two connections of one client.
const PACE: Duration = Duration::from_millis(3);
/// A client that has not had so many answers by the end has shown nothing.
const ENOUGH: usize = 20;

/// Every frontend asked from a pod, the node and outside.
pub struct Traffic {
    steady: Vec<(Place, String, Steady)>,
    open: Vec<(Place, String, Connection)>,
}

impl Traffic {
    /// Begins; `pod` is the pod that asks.
    pub fn start(lab: &Lab, pod: Place, fronts: &[impl AsRef<str>]) -> Traffic {
        let places = [pod, Place::Node, Place::Outside];
        let pairs = || places.into_iter().flat_map(|from| fronts.iter().map(move |to| (from, to.as_ref())));
        let ask = |(from, to): (Place, &str)| {
            (from, to.to_owned(), lab.keep_asking(from, to, PACE, PATIENCE).expect("a client"))
        };
        let open = |(from, to): (Place, &str)| {
            let connection = lab.connect(from, to, PATIENCE);
            (from, to.to_owned(), connection.unwrap_or_else(|e| panic!("{from:?} -> {to}: {e}")))
        };
        Traffic { open: pairs().map(open).collect(), steady: pairs().map(ask).collect() }
    }

    /// Some more connections by everyone, and the open ones still answer as before.
    pub fn goes_on(&mut self, after: &str) {
        for (from, to, steady) in &self.steady {
            let tally =
                steady.wait_for_more(5, PATIENCE * 4).unwrap_or_else(|t| panic!("{after}: {from:?} -> {to}: {t}"));
            assert_eq!(tally.failed(), 0, "{after}: {from:?} -> {to}: {tally}");
        }
        for (from, to, connection) in &mut self.open {
            let before = connection.answer().clone();
            assert_eq!(connection.ask(), Ok(before), "{after}: {from:?} -> {to}, an open connection");
        }
    }

    /// Ends; nothing may have been lost.
    pub fn stop(self) {
        for (from, to, steady) in self.steady {
            let tally = steady.stop().expect("the client ran");
            assert_eq!(tally.failed(), 0, "{from:?} -> {to}: {tally}");
            assert!(tally.answered() > ENOUGH, "{from:?} -> {to}: {tally}");
        }
    }
}
