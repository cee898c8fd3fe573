//! `ferroproxy run`: keeps the kernel in step with a source.

use std::path::Path;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::args::RunArgs;
use super::dry_run::{DryRun, DryRunChains};
use super::lock::Lock;
use super::mode::{self, Ground};
use super::{DIFFERENT, OK, TROUBLE};
use crate::agent::{Agent, Ending, Engine, IptablesEngine, Rules};
use crate::apply::netlink::Netlink;
use crate::host::{self, Conntrack};
use crate::model::{Config, Family, ModeReason, SourceConfig};
use crate::observe::Observer;
use crate::source::{Feed, api, manifests};

/// Runs until told to stop; with `--once` until synced, with `--init-only` only prepares the node.
///
/// `again` makes the configuration anew, for iptables mode.
pub(super) fn run(
    config: Config,
    again: impl FnOnce() -> anyhow::Result<Config>,
    args: &RunArgs,
) -> anyhow::Result<u8> {
    if !args.dry_run {
        prepare_node(&config);
    }
    if args.init_only {
        mode::open_loopback(&config);
        return Ok(OK);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // Held until the process ends: only one writes the rules of a network namespace.
    let mut _lock = None;
    if !args.dry_run {
        _lock = runtime.block_on(turn(args))?;
        if _lock.is_none() {
            return Ok(OK);
        }
    }
    let (config, ground, reason) = mode::choose(config, again)?;
    // The loop runs on this thread: it owns the netlink socket, and its commits block nobody else.
    let ending = runtime.block_on(keep(config, ground, reason, args))?;
    runtime.shutdown_background();
    Ok(match ending {
        Ending::Stopped | Ending::Synced => OK,
        Ending::Failed => DIFFERENT,
        Ending::SourceEnded => TROUBLE,
    })
}

/// Waits for another ferroproxy of this network namespace to end. `None`: told to stop before that. In a container the process is the first
/// one, which signals reach only where it asks for them.
async fn turn(args: &RunArgs) -> anyhow::Result<Option<Lock>> {
    let changed = super::reload::watch(args.config.source.config.as_deref())?;
    tokio::select! {
        lock = Lock::wait(args.wait_for_turn.0) => lock.map(Some),
        () = stop_signal() => {
            info!("ferroproxy ends; it was never its turn");
            Ok(None)
        }
        message = changed => bail!("{message}"),
    }
}

/// The loop, over what the mode stands on.
async fn keep(config: Config, ground: Ground, reason: ModeReason, args: &RunArgs) -> anyhow::Result<Ending> {
    match (ground, args.dry_run) {
        (Ground::Tables(mut netlink, families), true) => {
            let engine = Engine::new(config.clone(), families.clone(), DryRun::begin(&mut netlink)?);
            tell(config, families, engine, args).await
        }
        (Ground::Chains(mut kernel, families), true) => {
            let target = DryRunChains::begin(&mut kernel, &families)?;
            let engine = IptablesEngine::new(config.clone(), families.clone(), target);
            tell(config, families, engine, args).await
        }
        (Ground::Tables(mut netlink, families), false) => {
            if config.own_tables {
                own_tables(&mut netlink, &families);
            }
            let engine = Engine::new(config.clone(), families.clone(), netlink);
            follow(config, families, engine, reason, args).await
        }
        (Ground::Chains(kernel, families), false) => {
            let engine = IptablesEngine::new(config.clone(), families.clone(), kernel);
            follow(config, families, engine, reason, args).await
        }
    }
}

fn own_tables(netlink: &mut Netlink, families: &[Family]) {
    match netlink.own_tables(families) {
        true => info!("nobody else can change our tables while this process runs"),
        false => {
            info!("this kernel cannot protect our tables (owner and persist: Linux 6.9); what others break is repaired")
        }
    }
}

async fn follow(
    config: Config,
    families: Vec<Family>,
    engine: impl Rules,
    reason: ModeReason,
    args: &RunArgs,
) -> anyhow::Result<Ending> {
    let observer = Observer::new(config.sync_period)?;
    let mut feed = feed(&config).await?.with_local_addresses()?;
    let servers = match args.once {
        true => None,
        false => Some(observer.serve(&config).await?),
    };
    info!(
        version = env!("CARGO_PKG_VERSION"),
        node = config.node_name,
        mode = config.mode.name(),
        ?families,
        "ferroproxy runs"
    );
    let changed = super::reload::watch(args.config.source.config.as_deref())?;
    let conntrack = if args.once { None } else { conntrack(&observer) };
    observer.mode(config.mode, reason);
    let in_force = {
        let (config, observer) = (config.clone(), observer.clone());
        move || {
            mode::open_loopback(&config);
            mode::remove_the_other(config.mode, observer);
        }
    };
    let agent =
        Agent::new(config, families, engine, observer, args.once).with_conntrack(conntrack).once_in_force(in_force);
    let ending = tokio::select! {
        ending = agent.run(&mut feed, stop_signal()) => ending,
        message = changed => bail!("{message}"),
    };
    if let Some(servers) = servers {
        servers.shutdown().await;
    }
    info!(?ending, "ferroproxy ends; the rules stay in place");
    Ok(ending)
}

/// The loop alone, beside whatever else runs on the node: no servers, no sysctls, no conntrack.
async fn tell(config: Config, families: Vec<Family>, engine: impl Rules, args: &RunArgs) -> anyhow::Result<Ending> {
    let observer = Observer::new(config.sync_period)?;
    let mut feed = feed(&config).await?.with_local_addresses()?;
    info!(version = env!("CARGO_PKG_VERSION"), node = config.node_name, ?families, "ferroproxy tells what it would do");
    let agent = Agent::new(config, families, engine, observer, args.once);
    Ok(agent.run(&mut feed, stop_signal()).await)
}

/// The reconciler of UDP and SCTP flows. Without it the rules work all the same.
fn conntrack(observer: &Observer) -> Option<Conntrack> {
    let observer = observer.clone();
    let started = Conntrack::start(move |family, took, deleted| observer.conntrack_reconciled(family, took, deleted));
    started.inspect_err(|error| warn!(%error, "stale UDP and SCTP flows will not be removed from conntrack")).ok()
}

async fn feed(config: &Config) -> anyhow::Result<Feed> {
    match &config.source {
        SourceConfig::Api(api) => Ok(api::stream(api, &config.node_name).await?),
        SourceConfig::Manifests(dir) => manifests::stream(dir, &config.node_name)
            .with_context(|| format!("cannot watch the manifests in {}", dir.display())),
    }
}

/// SIGTERM or SIGINT.
async fn stop_signal() {
    let (term, int) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut term), Ok(mut int)) = (term, int) else {
        warn!("signals cannot be caught; the process ends only by force");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// Sysctls and the OOM score. Where they cannot be set, that is a warning: rules matter more.
fn prepare_node(config: &Config) {
    let root = Path::new("/");
    if !root.join("proc/sys/net/netfilter/nf_conntrack_max").exists() {
        // Asking the kernel what it can loads the module whose sysctls are to be set. Whether that works is told later.
        let _ = Netlink::open().and_then(|mut netlink| netlink.probe());
    }
    let mut warnings = host::apply_conntrack(&config.conntrack, host::cores(root), root);
    warnings.extend(host::set_oom_score(config.oom_score_adj, root).err());
    for warning in warnings {
        warn!("{warning}");
    }
}

/// The families this kernel can hold our table in. A family the kernel has not got is a warning; a family that lacks an expression is named
/// with what is missing; none at all is an error.
pub(super) fn usable_families(netlink: &mut Netlink) -> anyhow::Result<Vec<Family>> {
    let probe = netlink.probe().context("cannot ask the kernel what it can")?;
    for complaint in probe.complaints() {
        warn!("{complaint}");
    }
    let families = probe.families();
    if families.is_empty() {
        bail!("this kernel cannot hold the rules: {}", probe.complaints().join("; "));
    }
    Ok(families)
}
