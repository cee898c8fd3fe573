//! The arguments of `diff` and `render`.

use clap::{Args, ValueEnum};

use super::ConfigArgs;

pub(super) const RENDER_HELP: &str = "\
Examples:
  ferroproxy render --manifests ./manifests > rules.nft && nft -c -f rules.nft";

/// Arguments of `render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// Where to read and how to decide.
    #[command(flatten)]
    pub config: ConfigArgs,
}

pub(super) const DIFF_HELP: &str = "\
Exit codes: 0 the same, 1 different, 2 trouble.

Examples:
  ferroproxy diff --manifests ./manifests
  ferroproxy diff --config /var/lib/kube-proxy/config.conf --output json";

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Where to read and how to decide.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The form of the answer: for people by service, for programs, or as a transaction for `nft -f`
    #[arg(long, short, value_enum, default_value_t = DiffOutput::Text)]
    pub output: DiffOutput,
}

/// The form of `diff`'s answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DiffOutput {
    /// For people: by service, coloured on a terminal.
    #[default]
    Text,
    /// For programs.
    Json,
    /// The transaction that would make both equal, as nft text.
    Nft,
}
