//! Arguments as typed. What they mean is settled in [`super::resolve`].

mod cleanup;
mod config;
mod diff;
mod explain;
mod given;
mod migrate;
mod packet;
mod run;
mod settings;
mod status;

use std::ffi::OsString;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub use cleanup::CleanupArgs;
pub use config::{ConfigArgs, LogArgs, SourceArgs};
pub use diff::{DiffArgs, DiffOutput, RenderArgs};
pub use explain::ExplainArgs;
pub use migrate::{CheckArgs, Migrate, VerifyArgs};
pub use packet::{Goal, Sender};
pub use run::{Patience, RunArgs};
pub use settings::SettingArgs;
pub use status::StatusArgs;

#[cfg(test)]
pub(crate) use given::NO_EFFECT;
pub(crate) use given::{flag_of_field, has_no_effect, is_said_by_a_file};

const AFTER_HELP: &str = "\
Examples:
  ferroproxy run --config=/var/lib/kube-proxy/config.conf --hostname-override=node-1
      Beside a cluster, with the configuration file kubeadm wrote for kube-proxy. `run` may be left out.
  ferroproxy run --manifests ./manifests --hostname-override node-1
      No cluster: Services and EndpointSlices from a directory of YAML files, watched.
  ferroproxy render --manifests ./manifests
      The ruleset as nft text; needs no rights.
  ferroproxy diff --config /var/lib/kube-proxy/config.conf
      What is in the kernel against what should be there.";

/// A kube-proxy replacement: connections to Services reach their endpoints, by nftables.
#[derive(Debug, Parser)]
#[command(name = "ferroproxy", version, arg_required_else_help = true, after_long_help = AFTER_HELP)]
#[command(
    long_about = "ferroproxy replaces kube-proxy on a Linux node. It watches Services and EndpointSlices, from the \
Kubernetes API or from a directory of manifests, and keeps nf_tables in step: one atomic netlink transaction a change.

Flags without a subcommand mean `run`, so that a kube-proxy command line works as it is."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keep the node's rules in step with the Services and EndpointSlices of a source
    #[command(after_long_help = run::RUN_HELP)]
    Run(Box<RunArgs>),
    /// Print the ruleset of a source as nft text, without touching the kernel
    #[command(after_long_help = diff::RENDER_HELP)]
    Render(Box<RenderArgs>),
    /// Compare the kernel's rules with what a source asks for, changing nothing
    #[command(after_long_help = diff::DIFF_HELP)]
    Diff(Box<DiffArgs>),
    /// One screen about the running process: services, latency, drift, what is left out
    #[command(after_long_help = status::STATUS_HELP)]
    Status(StatusArgs),
    /// Tell what becomes of a packet and why: service, endpoints, masquerade, rules passed
    #[command(after_long_help = explain::EXPLAIN_HELP)]
    Explain(Box<ExplainArgs>),
    /// Remove every rule and table ferroproxy ever made, or what kube-proxy left
    #[command(after_long_help = cleanup::CLEANUP_HELP)]
    Cleanup(CleanupArgs),
    /// Take over from kube-proxy: what would differ, and whether both decide alike
    #[command(subcommand)]
    Migrate(Migrate),
    /// Print the version
    Version(VersionArgs),
}

/// Arguments of `version`.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// The form of the answer
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

impl Cli {
    /// Parses a command line, the program's name first.
    ///
    /// Flags without a subcommand are `run`'s, and kube-proxy's flags that mean nothing here are accepted and named in
    /// [`ConfigArgs::given`]. The error prints itself (help and version are such errors) and knows its exit code.
    pub fn parse_line(argv: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        let mut command = given::accept_kube_proxy_flags(Cli::command());
        let matches = command.try_get_matches_from_mut(given::with_run(argv.into_iter().collect()))?;
        let mut cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        if let (Some(config), Some(matches)) = (cli.config_mut(), given::innermost(&matches)) {
            config.given = given::names(matches);
        }
        Ok(cli)
    }

    fn config_mut(&mut self) -> Option<&mut ConfigArgs> {
        match &mut self.command {
            Command::Run(run) => Some(&mut run.config),
            Command::Render(render) => Some(&mut render.config),
            Command::Diff(diff) => Some(&mut diff.config),
            Command::Explain(explain) => Some(&mut explain.config),
            Command::Migrate(Migrate::Check(check)) => Some(&mut check.config),
            Command::Migrate(Migrate::Verify(verify)) => Some(&mut verify.config),
            Command::Status(_) | Command::Cleanup(_) | Command::Version(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
