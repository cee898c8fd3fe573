//! What every part of the story stands on: the lab, the manifests, the binary; and the way out on Ctrl-C.

use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::PODS;
use crate::go_on;
use crate::lab::{Lab, PATIENCE, Place, Proxy};
use crate::manifests::Manifests;

const NODE_NAME: &str = "demo-node";
const CLUSTER_CIDR: [&str; 2] = ["--cluster-cidr", "10.244.0.0/16,fd00:10:244::/64"];

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether somebody asked the demo to end.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// On SIGINT or SIGTERM the story ends at its next step and cleans up as always; a second one ends the process at once.
pub(crate) fn listen_for_signals() {
    std::thread::spawn(|| -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(async {
            let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            loop {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                if INTERRUPTED.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
            }
        })
    });
}

/// The lab with everything in it but the daemon.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    pub(crate) manifests: Manifests,
    binary: PathBuf,
}

/// What the daemon's metrics say about its syncs so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Syncs {
    pub(crate) count: f64,
    pub(crate) compile: Duration,
    pub(crate) commit: Duration,
    pub(crate) operations: f64,
}

impl Stage {
    /// Finds the binary that was built beside this example.
    pub(crate) fn new(lab: Lab, manifests: Manifests) -> Result<Stage> {
        let example = std::env::current_exe()?;
        let built = example.parent().and_then(|examples| examples.parent()).context("no target directory")?;
        let binary = built.join("ferroproxy");
        if !binary.exists() {
            bail!("{} is not there: `make demo` builds it", binary.display());
        }
        Ok(Stage { lab, manifests, binary })
    }

    /// Starts the daemon on the live manifests and waits until it is healthy.
    pub(crate) fn start_proxy(&self) -> Result<Proxy> {
        Ok(Proxy::start(&self.lab, &self.binary, self.manifests.live(), NODE_NAME, &CLUSTER_CIDR)?)
    }

    /// Runs another ferroproxy on the node and waits for it.
    pub(crate) fn ferroproxy(&self, args: &[&str]) -> Result<Output> {
        Ok(self.lab.run(&self.binary.to_string_lossy(), args)?)
    }

    /// The transaction that would bring the prepared manifests into force, as nft text.
    pub(crate) fn transaction_ahead(&self) -> Result<String> {
        let output = self.diff(self.manifests.next(), &["--output", "json"])?;
        if output.status.code() != Some(1) {
            bail!(
                "diff of a different source exits with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).context("diff prints no JSON")?;
        Ok(answer["transaction"].as_str().context("diff prints no transaction")?.to_owned())
    }

    /// Waits until `diff` finds the kernel equal to the live manifests.
    pub(crate) fn wait_in_force(&self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            go_on()?;
            let output = self.diff(self.manifests.live(), &[])?;
            match output.status.code() {
                Some(0) => return Ok(()),
                Some(1) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
                _ => bail!("the change does not take effect: {}", String::from_utf8_lossy(&output.stdout)),
            }
        }
    }

    fn diff(&self, manifests: &std::path::Path, more: &[&str]) -> Result<Output> {
        let manifests = manifests.to_string_lossy();
        let mut args = vec!["diff", "--manifests", &manifests, "--hostname-override", NODE_NAME];
        args.extend(CLUSTER_CIDR);
        args.extend(more);
        self.ferroproxy(&args)
    }

    /// The daemon's syncs so far, from `/metrics`.
    pub(crate) fn syncs(&self, proxy: &Proxy) -> Result<Syncs> {
        let text = proxy.metrics(&self.lab)?;
        let value = |name: &str| -> Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            Ok(line.with_context(|| format!("/metrics has no {name}"))?.parse()?)
        };
        let stage = |name: &str| value(&format!("ferroproxy_sync_stage_duration_seconds_sum{{stage=\"{name}\"}}"));
        Ok(Syncs {
            count: value("ferroproxy_sync_stage_duration_seconds_count{stage=\"commit\"}")?,
            compile: Duration::from_secs_f64(stage("compile")?),
            commit: Duration::from_secs_f64(stage("commit")?),
            operations: value("ferroproxy_commit_operations_total")?,
        })
    }

    /// The names of the lab's namespaces.
    pub(crate) fn space_names(&self) -> Vec<String> {
        let pods = (0..PODS).map(Place::Pod);
        pods.chain([Place::Node, Place::Outside]).map(|place| self.lab.space(place).name().to_owned()).collect()
    }
}

impl std::ops::Sub for Syncs {
    type Output = Syncs;

    fn sub(self, before: Syncs) -> Syncs {
        Syncs {
            count: self.count - before.count,
            compile: self.compile.saturating_sub(before.compile),
            commit: self.commit.saturating_sub(before.commit),
            operations: self.operations - before.operations,
        }
    }
}
