use std::path::PathBuf;

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
fn patience_is_a_duration_or_without_end() {
    let patience = |text: &str| run(&format!("--once {text}")).wait_for_turn.0;
    let seconds = std::time::Duration::from_secs;
    assert_eq!(patience(""), Some(seconds(10)));
    assert_eq!(patience("--wait-for-turn=1m30s"), Some(seconds(90)));
    assert_eq!(patience("--wait-for-turn 0s"), Some(seconds(0)));
    assert_eq!(patience("--wait-for-turn=forever"), None);
    for wrong in ["-1s", "10", "for ever"] {
        assert!(wrong.parse::<Patience>().is_err(), "{wrong}");
    }
}

#[test]
fn a_file_covers_the_settings_and_nothing_else() {
    for covered in ["cluster-cidr", "kubeconfig", "nodeport-addresses", "sync-period", "feature-gates"] {
        assert!(is_said_by_a_file(covered), "{covered}");
    }
    for beside in ["proxy-mode", "wait-for-turn", "count-connections", "own-tables", "master", "strict", "v", "live"] {
        assert!(!is_said_by_a_file(beside), "{beside}");
    }
}

#[test]
fn help_version_and_errors_are_left_to_clap() {
    let kind = |line: &str| {
        let argv = std::iter::once("ferroproxy").chain(line.split_whitespace()).map(OsString::from);
        Cli::parse_line(argv).expect_err("no command").kind()
    };
    assert_eq!(kind("--help"), clap::error::ErrorKind::DisplayHelp);
    for version in ["--version", "-V", "--version=true", "--version=raw"] {
        assert_eq!(kind(version), clap::error::ErrorKind::DisplayVersion);
    }
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
