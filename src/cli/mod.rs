//! Arguments, subcommands and exit codes.

pub mod args;
mod cleanup;
pub mod config;
mod diff;
mod dry_run;
mod explain;
mod gather;
mod lock;
mod logging;
mod migrate;
mod mode;
mod planned;
#[cfg(test)]
mod reference;
mod reload;
mod render;
pub mod resolve;
mod run;
mod status;
mod version;
mod write_config;

use std::process::ExitCode;

use args::{Cli, Command, ConfigArgs, LogArgs, Migrate};

use crate::model::{Config, LogConfig, LogFormat, ProxyMode};

/// `diff`: the kernel holds what the source asks for. `explain`: delivered. `migrate check`: nothing would break. `migrate verify`: both
/// decide alike. Everything else: done.
pub const OK: u8 = 0;
/// `diff`, `migrate verify`: something differs. `explain`: refused or dropped. `migrate check`: something would break. `run --once`: something
/// could not be brought into force.
pub const DIFFERENT: u8 = 1;
/// Arguments, configuration, rights or the kernel do not allow it.
pub const TROUBLE: u8 = 2;

/// Runs the command line and answers its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::parse_line(std::env::args_os()) {
        Ok(cli) => cli,
        Err(answer) => {
            // Help and version are answers on stdout, the rest goes to stderr.
            let code = answer.exit_code();
            return match answer.print() {
                Ok(()) => ExitCode::from(u8::try_from(code).unwrap_or(TROUBLE)),
                Err(_) => ExitCode::from(TROUBLE),
            };
        }
    };
    let code = dispatch(cli.command).unwrap_or_else(|error| {
        logging::tell(&format!("ferroproxy: {error:#}"));
        TROUBLE
    });
    logging::flush();
    ExitCode::from(code)
}

fn dispatch(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Run(args) if args.cleanup => cleanup::cleanup(false),
        Command::Run(args) => {
            let mut config = resolved(&args.config)?;
            config.admin = match args.admin_socket.as_str() {
                "none" => None,
                text => Some(text.parse().map_err(|reason| anyhow::anyhow!("--admin-socket {text}: {reason}"))?),
            };
            config.own_tables = args.own_tables;
            if let Some(file) = &args.write_config_to {
                return write_config::write(&config, args.config.source.hostname_override.as_deref(), file);
            }
            let again = || Ok(resolve::resolve_as(&args.config, &resolve::System, Some(ProxyMode::Iptables))?.0);
            run::run(config, again, &args)
        }
        Command::Render(args) => render::render(&resolved(&args.config)?),
        Command::Diff(args) => diff::diff(&resolved(&args.config)?, args.output),
        Command::Status(args) => status::status(&args),
        Command::Explain(args) => explain::explain(&resolved(&args.config)?, &args),
        Command::Cleanup(args) => {
            logging::start(&LogConfig { verbosity: args.log.v.unwrap_or_default(), format: log_format(&args.log) });
            match args.kube_proxy {
                true => cleanup::kube_proxy(args.dry_run, args.force),
                false => cleanup::cleanup(args.dry_run),
            }
        }
        Command::Migrate(Migrate::Check(args)) => migrate::check(&args),
        Command::Migrate(Migrate::Verify(args)) => migrate::verify(&resolved(&args.config)?, args.output),
        Command::Version(args) => version::version(args.output),
    }
}

fn log_format(args: &LogArgs) -> LogFormat {
    match args.logging_format.as_deref() {
        Some("json") => LogFormat::Json,
        _ => LogFormat::Text,
    }
}

/// Settles the configuration, starts logging as it says, and logs the warnings.
fn resolved(args: &ConfigArgs) -> anyhow::Result<Config> {
    let (config, warnings) = resolve::resolve(args, &resolve::System)?;
    logging::start(&config.log);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}
