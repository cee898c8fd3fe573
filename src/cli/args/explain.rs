//! The arguments of `explain`.

use clap::Args;

use super::{ConfigArgs, Goal, Output, Sender};

pub(super) const EXPLAIN_HELP: &str = "\
Walks the first packet of a connection through the ruleset of the source, or through what is in the kernel (--live), and changes nothing.
Exit codes: 0 delivered, 1 refused or dropped, 2 trouble.

Examples:
  ferroproxy explain --manifests ./manifests --from pod --to 10.96.0.10:80
      Why does a pod reach this service as it does, and which endpoints may answer?
  ferroproxy explain --config /var/lib/kube-proxy/config.conf --from external --to 192.0.2.10:30080/udp
      From outside, to a node port.
  ferroproxy explain --kubeconfig ~/.kube/config --from 10.244.1.7 --to [fd00:10:96::a]:53/udp --live --output json
      From this very address, through the rules the kernel holds now, for a program.";

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Who sends the packet: an address, or `pod` (of this node), `node` (its InternalIP), `external` (outside the cluster)
    #[arg(long, value_name = "ADDRESS|pod|node|external", default_value = "pod", help_heading = "Packet")]
    pub from: Sender,
    /// Where it goes; the protocol is tcp unless `/udp` or `/sctp` follows. IPv6 addresses stand in brackets
    #[arg(long, value_name = "ADDRESS:PORT[/PROTO]", help_heading = "Packet")]
    pub to: Goal,
    /// Walk the rules in the kernel instead of those the source asks for (root)
    #[arg(long, help_heading = "Packet")]
    pub live: bool,
    /// Where to read and how to decide.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The form of the answer
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}
