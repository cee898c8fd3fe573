//! The arguments of `status`.

use clap::Args;

use super::Output;
use crate::model::AdminSocket;

pub(super) const STATUS_HELP: &str = "\
Exit codes: 0 ready, 1 running and not ready, 2 nobody answers.

Examples:
  ferroproxy status --watch
  ferroproxy status --output json";

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Where the running process answers: the --admin-socket of its `run`
    #[arg(long, value_name = "@NAME|PATH", default_value_t = AdminSocket::default())]
    pub admin_socket: AdminSocket,
    /// Ask again every second
    #[arg(long, short)]
    pub watch: bool,
    /// The form of the answer
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}
