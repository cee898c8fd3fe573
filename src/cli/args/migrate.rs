//! The subcommands of `migrate`.

use clap::{Args, Subcommand};

use super::{ConfigArgs, Output};

const CHECK_HELP: &str = "\
Reads the configuration and the node, and changes nothing. Needs no API server; without root it sees less and says so.
Exit codes: 0 nothing would break, 1 something would, 2 it could not be found out.

Examples:
  ferroproxy migrate check --config /var/lib/kube-proxy/config.conf
  ferroproxy migrate check --config /var/lib/kube-proxy/config.conf --proxy-mode nftables --output json";

const VERIFY_HELP: &str = "\
Reads the rules kube-proxy has in the kernel now (nftables or iptables), asks them and those ferroproxy would write the same questions - every
frontend, from a pod, from the node, from outside - and prints where the answers differ. Changes nothing.
Exit codes: 0 the same, 1 something differs, 2 it could not be found out.

Examples:
  ferroproxy migrate verify --config /var/lib/kube-proxy/config.conf
  ferroproxy migrate verify --manifests ./manifests --hostname-override node-1 --output json";

/// What to find out before kube-proxy goes.
#[derive(Debug, Subcommand)]
pub enum Migrate {
    /// Tell what would differ or break on this node with kube-proxy's configuration
    #[command(after_long_help = CHECK_HELP)]
    Check(Box<CheckArgs>),
    /// Compare what kube-proxy's rules do with what ferroproxy's would
    #[command(after_long_help = VERIFY_HELP)]
    Verify(Box<VerifyArgs>),
}

/// Arguments of `migrate check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration to check.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The form of the answer
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Arguments of `migrate verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Where to read and how to decide.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The form of the answer
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}
