//! The arguments of `cleanup`.

use clap::Args;

use super::LogArgs;

pub(super) const CLEANUP_HELP: &str = "\
--kube-proxy removes the nftables tables `ip kube-proxy` and `ip6 kube-proxy`, those chains of iptables (iptables-nft and iptables-legacy) that
kube-proxy's own cleanup removes, and what its ipvs mode made: virtual services, ipsets, the interface kube-ipvs0. kubelet's chains and everybody else's rules stay.
Exit codes: 0 removed, or nothing there; 2 something is left, or a kube-proxy runs here (--force goes on all the same).

Examples:
  ferroproxy cleanup
  ferroproxy cleanup --kube-proxy --dry-run";

/// Arguments of `cleanup`.
#[derive(Debug, Default, Args)]
pub struct CleanupArgs {
    /// Remove what kube-proxy left instead, and nothing of ferroproxy's
    #[arg(long)]
    pub kube_proxy: bool,
    /// Say what would go, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Remove kube-proxy's rules although a kube-proxy seems to run here
    #[arg(long, requires = "kube_proxy")]
    pub force: bool,
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
}
