//! Arguments as typed. What they mean is settled in [`super::resolve`].

mod given;
mod migrate;
mod packet;
mod settings;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::model::AdminSocket;
pub use migrate::{CheckArgs, Migrate, VerifyArgs};
pub use packet::{Goal, Sender};
pub use settings::SettingArgs;

#[cfg(test)]
pub(crate) use given::NO_EFFECT;
pub(crate) use given::{BESIDE_A_FILE, flag_of_field, has_no_effect};

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
    #[command(after_long_help = RUN_HELP)]
    Run(Box<RunArgs>),
    /// Print the ruleset of a source as nft text, without touching the kernel
    #[command(after_long_help = RENDER_HELP)]
    Render(Box<RenderArgs>),
    /// Compare the kernel's rules with what a source asks for, changing nothing
    #[command(after_long_help = DIFF_HELP)]
    Diff(Box<DiffArgs>),
    /// One screen about the running process: services, latency, drift, what is left out
    #[command(after_long_help = STATUS_HELP)]
    Status(StatusArgs),
    /// Tell what becomes of a packet and why: service, endpoints, masquerade, rules passed
    #[command(after_long_help = EXPLAIN_HELP)]
    Explain(Box<ExplainArgs>),
    /// Remove every rule and table ferroproxy ever made, or what kube-proxy left
    #[command(after_long_help = CLEANUP_HELP)]
    Cleanup(CleanupArgs),
    /// Take over from kube-proxy: what would differ, and whether both decide alike
    #[command(subcommand)]
    Migrate(Migrate),
    /// Print the version
    Version(VersionArgs),
}

const RUN_HELP: &str = "\
Examples:
  ferroproxy run --config=/var/lib/kube-proxy/config.conf --hostname-override=$(NODE_NAME)
  ferroproxy run --manifests ./manifests --once
  ferroproxy run --kubeconfig ~/.kube/config --cluster-cidr 10.244.0.0/16 -v=2

SIGTERM finishes the commit in flight, leaves the rules in place and exits with 0.";

const RENDER_HELP: &str = "\
Examples:
  ferroproxy render --manifests ./manifests > rules.nft && nft -c -f rules.nft";

const DIFF_HELP: &str = "\
Exit codes: 0 the same, 1 different, 2 trouble.

Examples:
  ferroproxy diff --manifests ./manifests
  ferroproxy diff --config /var/lib/kube-proxy/config.conf --output json";

const STATUS_HELP: &str = "\
Exit codes: 0 ready, 1 running and not ready, 2 nobody answers.

Examples:
  ferroproxy status --watch
  ferroproxy status --output json";

const CLEANUP_HELP: &str = "\
--kube-proxy removes the nftables tables `ip kube-proxy` and `ip6 kube-proxy`, those chains of iptables (iptables-nft and iptables-legacy) that
kube-proxy's own cleanup removes, and the interface kube-ipvs0. kubelet's chains and everybody else's rules stay.
Exit codes: 0 removed, or nothing there; 2 something is left, or a kube-proxy runs here (--force goes on all the same).

Examples:
  ferroproxy cleanup
  ferroproxy cleanup --kube-proxy --dry-run";

const EXPLAIN_HELP: &str = "\
Walks the first packet of a connection through the ruleset of the source, or through what is in the kernel (--live), and changes nothing.
Exit codes: 0 delivered, 1 refused or dropped, 2 trouble.

Examples:
  ferroproxy explain --manifests ./manifests --from pod --to 10.96.0.10:80
      Why does a pod reach this service as it does, and which endpoints may answer?
  ferroproxy explain --config /var/lib/kube-proxy/config.conf --from external --to 192.0.2.10:30080/udp
      From outside, to a node port.
  ferroproxy explain --kubeconfig ~/.kube/config --from 10.244.1.7 --to [fd00:10:96::a]:53/udp --live --output json
      From this very address, through the rules the kernel holds now, for a program.";

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
    /// Where `ferroproxy status` asks this process: a name in the network namespace, or a socket file; `none` switches it off
    #[arg(long, help_heading = "Run", value_name = "@NAME|PATH", default_value = "@ferroproxy/admin")]
    pub admin_socket: String,
    /// Remove all rules and exit: the same as `ferroproxy cleanup`
    #[arg(long, help_heading = "Run", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = settings::go_bool)]
    pub cleanup: bool,
    /// Do what needs full root rights (sysctls), then exit; afterwards CAP_NET_ADMIN is enough
    #[arg(long, help_heading = "Run", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "false", hide_default_value = true, value_parser = settings::go_bool)]
    pub init_only: bool,
}

/// Arguments of `render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// Where to read and how to decide.
    #[command(flatten)]
    pub config: ConfigArgs,
}

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

/// What `run`, `render`, `diff` and `explain` share: everything that makes a [`crate::model::Config`].
#[derive(Debug, Default, Args)]
pub struct ConfigArgs {
    /// Where objects come from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Settings that a configuration file covers.
    #[command(flatten)]
    pub settings: Box<SettingArgs>,
    /// Count the new connections to each service port, for at most MAX of them (1000 unless said); the rest is counted together. nftables mode only
    #[arg(long, help_heading = "Rules", value_name = "MAX", num_args = 0..=1, require_equals = true, default_missing_value = "1000")]
    pub count_connections: Option<usize>,
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
    /// Long names of all flags given on the command line, kube-proxy's flags without effect included.
    #[arg(skip)]
    pub given: Vec<String>,
}

/// Where objects come from.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Source")]
pub struct SourceArgs {
    /// Read Services, EndpointSlices, Nodes and ServiceCIDRs from the YAML and JSON files of this directory, and watch it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kubeconfig", "master"])]
    pub manifests: Option<PathBuf>,
    /// A KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1). With it, of the flags below only --master,
    /// --hostname-override, --strict and those about logging count; --proxy-mode overrides a mode that is not nftables
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The kubeconfig for the Kubernetes API; without it, the environment of a pod. With --config: clientConnection.kubeconfig
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The API server's URL; overrides the kubeconfig's
    #[arg(long, value_name = "URL")]
    pub master: Option<String>,
    /// This node's name. Without it: the file's hostnameOverride, the environment's NODE_NAME, the host name
    #[arg(long, value_name = "NAME")]
    pub hostname_override: Option<String>,
    /// Unknown keys in the configuration file are an error instead of a warning
    #[arg(long)]
    pub strict: bool,
}

/// Logging.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// How much to log: 0-1 info, 2-4 debug, 5 and more trace
    #[arg(short = 'v', long = "v", value_name = "LEVEL")]
    pub v: Option<u8>,
    /// The form of log lines: text or json
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "json"])]
    pub logging_format: Option<String>,
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
mod tests {
    use super::*;

    fn parse(line: &str) -> Cli {
        let argv = std::iter::once("ferroproxy").chain(line.split_whitespace()).map(OsString::from);
        Cli::parse_line(argv).unwrap_or_else(|error| panic!("{error}"))
    }

    fn run(line: &str) -> RunArgs {
        match parse(line).command {
            Command::Run(run) => *run,
            other => panic!("not run: {other:?}"),
        }
    }

    #[test]
    fn clap_finds_nothing_to_complain_about() {
        given::accept_kube_proxy_flags(Cli::command()).debug_assert();
    }

    #[test]
    fn flags_without_a_subcommand_run() {
        let args = run("--config=/var/lib/kube-proxy/config.conf --hostname-override=node-1");
        assert_eq!(args.config.source.config, Some(PathBuf::from("/var/lib/kube-proxy/config.conf")));
        assert_eq!(args.config.source.hostname_override.as_deref(), Some("node-1"));
        assert_eq!(args.config.given, ["config", "hostname-override"]);
        assert_eq!(run("-v=4 --master http://a").config.log.v, Some(4));
        assert_eq!(run("--v 2 --master=http://a").config.log.v, Some(2));
    }

    #[test]
    fn booleans_are_written_as_go_reads_them() {
        assert!(run("--cleanup").cleanup);
        assert!(run("--cleanup=true").cleanup);
        assert!(!run("--cleanup=false --master=a").cleanup);
        assert_eq!(run("--masquerade-all --once").config.settings.masquerade_all, Some(true));
        assert_eq!(run("--masquerade-all=F").config.settings.masquerade_all, Some(false));
    }

    #[test]
    fn kube_proxys_other_flags_are_accepted_and_named() {
        let args = run("--ipvs-strict-arp --ipvs-scheduler rr --kube-api-qps=5 --once");
        assert_eq!(args.config.given, ["ipvs-scheduler", "ipvs-strict-arp", "kube-api-qps", "once"]);
        assert!(args.once);
    }

    #[test]
    fn help_version_and_errors_are_left_to_clap() {
        let kind = |line: &str| {
            let argv = std::iter::once("ferroproxy").chain(line.split_whitespace()).map(OsString::from);
            Cli::parse_line(argv).expect_err("no command").kind()
        };
        assert_eq!(kind("--help"), clap::error::ErrorKind::DisplayHelp);
        assert_eq!(kind("--version"), clap::error::ErrorKind::DisplayVersion);
        assert_eq!(kind("--no-such-flag"), clap::error::ErrorKind::UnknownArgument);
        assert_eq!(kind("run --manifests a --master b"), clap::error::ErrorKind::ArgumentConflict);
        assert_eq!(kind("dance"), clap::error::ErrorKind::InvalidSubcommand);
    }

    #[test]
    fn kube_proxys_names_are_aliases() {
        let args = run("--iptables-masquerade-bit 15 --iptables-sync-period 10s");
        assert_eq!(args.config.settings.masquerade_bit, Some(15));
        assert_eq!(args.config.settings.sync_period.as_deref(), Some("10s"));
    }
}
