//! Why an endpoint is among those to use, or is not: for people. A sync does without.

use std::fmt;

use super::choice::Choice;
use super::route::Pool;
use super::topology::Topology;
use crate::state::Endpoint;

/// How an endpoint stands in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In it: ready.
    Ready,
    /// In it: terminating, but still serving, and none is ready.
    StillServing,
    /// Not in it: on another node.
    NotLocal,
    /// Not in it: its hints name other nodes.
    OtherNode,
    /// Not in it: its hints name other zones.
    OtherZone,
    /// Not in it: terminating while another is ready.
    Terminating,
    /// Not in it: terminating, and not serving any more.
    Gone,
    /// Not in it: not ready.
    NotReady,
}

impl Standing {
    /// Whether it is in the pool.
    pub fn is_in(self) -> bool {
        matches!(self, Standing::Ready | Standing::StillServing)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Standing::Ready => "ready",
            Standing::StillServing => "terminating but still serving, and none is ready",
            Standing::NotLocal => "not on this node",
            Standing::OtherNode => "its topology hint names another node",
            Standing::OtherZone => "its topology hint names another zone",
            Standing::Terminating => "terminating, and another one is ready",
            Standing::Gone => "terminating, and no longer serving",
            Standing::NotReady => "not ready",
        })
    }
}

/// How one of the endpoints that were chosen from stands in a pool.
pub fn judge(endpoint: &Endpoint<'_>, choice: &Choice, pool: Pool) -> Standing {
    let kept = match pool {
        Pool::Cluster => &choice.cluster,
        Pool::Local => &choice.local,
    };
    let conditions = endpoint.conditions;
    match (kept.binary_search(&endpoint.addr).is_ok(), pool) {
        (true, _) if conditions.ready => Standing::Ready,
        (true, _) => Standing::StillServing,
        (false, Pool::Local) if !endpoint.local => Standing::NotLocal,
        // Ready and yet not used: topology has cut it off.
        (false, _) if conditions.ready => match choice.topology {
            Topology::SameNode => Standing::OtherNode,
            Topology::SameZone | Topology::All(_) => Standing::OtherZone,
        },
        (false, _) if conditions.terminating && conditions.serving => Standing::Terminating,
        (false, _) if conditions.terminating => Standing::Gone,
        (false, _) => Standing::NotReady,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Conditions, EndpointAddr, Hints};
    use crate::policy::choose;

    fn endpoint(n: u8, [ready, serving, terminating]: [bool; 3], local: bool) -> Endpoint<'static> {
        let addr = EndpointAddr { ip: [10, 244, 0, n].into(), port: 80 };
        Endpoint { addr, conditions: Conditions { ready, serving, terminating }, local, hints: None, slice: "s" }
    }

    fn standings(endpoints: &[Endpoint<'_>], zone: Option<&str>, pool: Pool) -> Vec<Standing> {
        let choice = choose(endpoints, "node", zone);
        endpoints.iter().map(|endpoint| judge(endpoint, &choice, pool)).collect()
    }

    #[test]
    fn each_has_its_reason() {
        use Standing::{Gone, NotLocal, NotReady, Ready, StillServing, Terminating};
        let all = [
            endpoint(1, [true, true, false], false),
            endpoint(2, [false, true, true], true),
            endpoint(3, [false, false, true], true),
            endpoint(4, [false, false, false], true),
        ];
        assert_eq!(standings(&all, None, Pool::Cluster), [Ready, Terminating, Gone, NotReady]);
        assert_eq!(standings(&all, None, Pool::Local), [NotLocal, StillServing, Gone, NotReady]);
    }

    #[test]
    fn what_topology_cuts_off_is_named_by_the_kind_of_hint() {
        let hints = |zone: &str, node: &str| Hints { zones: vec![zone.into()], nodes: vec![node.into()] };
        let (near, far) = (hints("a", "node"), hints("b", "other"));
        let hinted = |n, hints| Endpoint { hints: Some(hints), ..endpoint(n, [true, true, false], false) };
        let all = [hinted(1, &near), hinted(2, &far)];
        assert_eq!(standings(&all, Some("a"), Pool::Cluster), [Standing::Ready, Standing::OtherNode]);
        let zoned = |zone: &str| Hints { zones: vec![zone.into()], nodes: Vec::new() };
        let (near, far) = (zoned("a"), zoned("b"));
        let all = [hinted(1, &near), hinted(2, &far)];
        assert_eq!(standings(&all, Some("a"), Pool::Cluster), [Standing::Ready, Standing::OtherZone]);
    }
}
