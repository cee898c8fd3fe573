//! A real kube-proxy, where `KUBE_PROXY_BIN` names its binary.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::cluster::Cluster;
use super::lab::{Lab, Place};
use super::scene::CLUSTER_CIDR;

/// Names the binary.
const VARIABLE: &str = "KUBE_PROXY_BIN";

/// The binary; nothing, and a loud word, where the environment names none.
pub fn binary() -> Option<PathBuf> {
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    if named.is_none() {
        eprintln!("\n*** NOT RUN: {VARIABLE} names no kube-proxy ***\n");
    }
    named
}

/// A directory in which `iptables` and its relatives are those of one variant.
pub struct Variant(TempDir);

impl Variant {
    /// `nft` or `legacy`.
    pub fn new(name: &str) -> Variant {
        let dir = TempDir::new().expect("a directory");
        for (family, what) in
            ["iptables", "ip6tables"].into_iter().flat_map(|f| ["", "-save", "-restore"].map(|w| (f, w)))
        {
            let target = Path::new("/usr/sbin").join(format!("{family}-{name}{what}"));
            symlink(target, dir.path().join(format!("{family}{what}"))).expect("a link");
        }
        Variant(dir)
    }
}

/// A kube-proxy on the lab's node; killed when dropped. Node ports answer on the primary address only.
pub struct KubeProxy(Child);

impl KubeProxy {
    /// Starts it, and does not wait.
    pub fn start(binary: &Path, lab: &Lab, cluster: &Cluster, mode: &str) -> KubeProxy {
        KubeProxy::run(Command::new(binary), lab, cluster, mode)
    }

    /// The same in iptables mode, on this variant of iptables: it runs the binary that is called `iptables`.
    pub fn start_on(variant: &Variant, binary: &Path, lab: &Lab, cluster: &Cluster) -> KubeProxy {
        let mut command = Command::new(binary);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places = std::iter::once(variant.0.path().to_owned()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(places).expect("a path"));
        KubeProxy::run(command, lab, cluster, "iptables")
    }

    fn run(mut command: Command, lab: &Lab, cluster: &Cluster, mode: &str) -> KubeProxy {
        command.arg(format!("--kubeconfig={}", cluster.kubeconfig().display()));
        command.args([&format!("--proxy-mode={mode}"), &format!("--hostname-override={}", cluster.id())]);
        command.args([
            &format!("--cluster-cidr={CLUSTER_CIDR}"),
            "--nodeport-addresses=primary",
            "--iptables-localhost-nodeports=false",
        ]);
        command.args(["--conntrack-max-per-core=0", "--conntrack-min=0"]);
        command.args(["--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        KubeProxy(lab.space(Place::Node).run(|| command.spawn()).expect("entered").expect("kube-proxy starts"))
    }

    /// Ends it; its rules stay.
    pub fn stop(mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("ended");
    }
}

impl Drop for KubeProxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
