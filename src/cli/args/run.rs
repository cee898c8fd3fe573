//! The arguments of `run`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::ConfigArgs;
use crate::cli::config::GoDuration;

pub(super) const RUN_HELP: &str = "\
Examples:
  ferroproxy run --config=/var/lib/kube-proxy/config.conf --hostname-override=$(NODE_NAME)
  ferroproxy run --manifests ./manifests --once
  ferroproxy run --kubeconfig ~/.kube/config --cluster-cidr 10.244.0.0/16 -v=2

SIGTERM finishes the commit in flight, leaves the rules in place and exits with 0.";

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Where to read and how to decide.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Sync once, then exit (0 if all rules are in force)
    #[arg(long, help_heading = "Run")]
    pub once: bool,
    /// Write nothing: follow the source, and print each transaction that would be committed as nft text
    #[arg(long, help_heading = "Run")]
    pub dry_run: bool,
    /// Let nobody else change the tables while this process runs: `nft flush ruleset` passes them over. From Linux 6.9; see docs/decisions/0014
    #[arg(long, help_heading = "Run")]
    pub own_tables: bool,
    /// How long to wait for another ferroproxy of this network namespace to end before giving up: a duration, or `forever`
    #[arg(long, help_heading = "Run", value_name = "DURATION|forever", default_value = "10s")]
    pub wait_for_turn: Patience,
    /// Where `ferroproxy status` asks this process: a name in the network namespace, or a socket file; `none` switches it off
    #[arg(long, help_heading = "Run", value_name = "@NAME|PATH", default_value = "@ferroproxy/admin")]
    pub admin_socket: String,
    /// Remove all rules and exit: the same as `ferroproxy cleanup`
    #[arg(long, help_heading = "Run", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = super::settings::go_bool)]
    pub cleanup: bool,
    /// Write the configuration that would be in force to a file, as YAML, and exit. It names this node only if --hostname-override does
    #[arg(long, help_heading = "Run", value_name = "FILE")]
    pub write_config_to: Option<PathBuf>,
    /// Do what needs full root rights (sysctls), then exit; afterwards CAP_NET_ADMIN is enough
    #[arg(long, help_heading = "Run", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = super::settings::go_bool)]
    pub init_only: bool,
}

/// How long to wait; `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience(pub Option<Duration>);

impl FromStr for Patience {
    type Err = String;

    fn from_str(text: &str) -> Result<Patience, String> {
        if text == "forever" {
            return Ok(Patience(None));
        }
        match text.parse::<GoDuration>() {
            Ok(duration) if !duration.is_negative() => Ok(Patience(Some(duration.to_std()))),
            _ => Err("write a duration (10s, 5m) or `forever`".to_owned()),
        }
    }
}
