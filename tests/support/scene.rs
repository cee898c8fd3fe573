//! A lab with a running ferroproxy on a directory of manifests.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::lab::{Lab, NODE, Proxy, pod};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_ferroproxy");
/// The lab's node, as the manifests call it.
pub const NODE_NAME: &str = "node-a";
/// What masquerades sources from outside the pods' networks.
pub const CLUSTER_CIDR: &str = "10.244.0.0/16,fd00:10:244::/64";

/// A lab, manifests, and a ferroproxy that has synced them.
pub struct Scene {
    // Dropped in this order: the proxy ends before its node goes.
    pub proxy: Option<Proxy>,
    pub lab: Lab,
    pub dir: TempDir,
    args: Vec<String>,
}

impl Scene {
    /// So many pods serving TCP and UDP on 8080, and these manifests besides the Node and the ServiceCIDR.
    pub fn new(pods: usize, manifests: &[(&str, String)]) -> Scene {
        Scene::with_args(pods, manifests, &["--cluster-cidr", CLUSTER_CIDR])
    }

    /// The same with arguments of one's own.
    pub fn with_args(pods: usize, manifests: &[(&str, String)], args: &[&str]) -> Scene {
        let mut scene = Scene::laid(pods, manifests, args);
        scene.start();
        scene
    }

    /// The same without a ferroproxy: not started yet.
    pub fn laid(pods: usize, manifests: &[(&str, String)], args: &[&str]) -> Scene {
        let mut lab = Lab::new(pods).expect("the lab stands");
        lab.serve_tcp(8080).expect("TCP servers listen");
        lab.serve_udp(8080).expect("UDP servers listen");
        let dir = TempDir::new().expect("a directory");
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let scene = Scene { proxy: None, lab, dir, args };
        scene.write("node", &node());
        for (name, text) in manifests {
            scene.write(name, text);
        }
        scene
    }

    /// From the next start on, these arguments.
    pub fn args(&mut self, args: &[&str]) {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    }

    /// Starts the proxy and waits until it is healthy.
    pub fn start(&mut self) {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let proxy = Proxy::start(&self.lab, Path::new(BINARY), self.dir.path(), NODE_NAME, &args);
        self.proxy = Some(proxy.expect("ferroproxy becomes healthy"));
    }

    /// Starts it with other arguments.
    pub fn restart_with(&mut self, args: &[&str]) {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self.start();
    }

    /// SIGTERM, and its exit status must be 0.
    pub fn stop(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            assert!(proxy.stop().expect("it ends").success());
        }
    }

    /// Writes a manifest by renaming it into place, as editors and kubelet do.
    pub fn write(&self, name: &str, text: &str) {
        let temporary = self.dir.path().join(format!(".{name}.tmp"));
        fs::write(&temporary, text).expect("written");
        fs::rename(temporary, self.path(name)).expect("renamed");
    }

    /// Removes a manifest.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).expect("removed");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.yaml"))
    }

    /// Runs another ferroproxy on the node: exit code and output.
    pub fn ferroproxy(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.lab.run(BINARY, args).expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What `ferroproxy diff` says of the kernel against the manifests.
    pub fn diff(&self) -> (Option<i32>, String) {
        let dir = self.dir.path().to_string_lossy().into_owned();
        let mut args = vec!["diff", "--manifests", &dir, "--hostname-override", NODE_NAME];
        args.extend(self.args.iter().map(String::as_str).filter(|arg| !["--once", "--own-tables"].contains(arg)));
        self.ferroproxy(&args)
    }

    /// Waits until the kernel holds what the manifests say now.
    pub fn settle(&self) {
        self.wait_for("the rules to be those of the manifests", |scene| scene.diff().0 == Some(0));
    }

    /// Waits for something to become so.
    pub fn wait_for(&self, what: &str, is_so: impl Fn(&Scene) -> bool) {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !is_so(self) {
            let log = self.proxy.as_ref().map(Proxy::log).unwrap_or_default();
            assert!(std::time::Instant::now() < end, "waited in vain for {what}\n{}\n{log}", self.diff().1);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// The value of a metric's sample line, by its beginning.
    pub fn metric(&self, beginning: &str) -> f64 {
        let text = self.proxy.as_ref().expect("a proxy").metrics(&self.lab).expect("metrics");
        let line = text.lines().find(|line| line.starts_with(beginning));
        let value = line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no metric {beginning} in\n{text}"))
    }
}

/// The own Node with the lab's addresses, and the ServiceCIDRs.
pub fn node() -> String {
    format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {NODE_NAME}}}\nstatus:\n  addresses:\n    - {{type: InternalIP, address: {}}}\n    \
         - {{type: InternalIP, address: '{}'}}\n---\napiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {{name: kubernetes}}\n\
         spec: {{cidrs: [10.96.0.0/16, 'fd00:10:96::/112']}}\n",
        NODE[0], NODE[1]
    )
}

/// A dual-stack Service `web-N` on 10.96.0.N and fd00:10:96::N, port 80 over TCP and UDP; `more` are further lines of its spec.
pub fn service(n: u8, more: &str) -> String {
    let lines: String = more.lines().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "  {line}");
        text
    });
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web-{n}, namespace: default}}\nspec:\n  \
         clusterIP: 10.96.0.{n}\n  clusterIPs: [10.96.0.{n}, 'fd00:10:96::{n:x}']\n{lines}"
    )
}

/// The ports of [`service`], without node ports.
pub const PORTS: &str = "ports: [{name: t, port: 80, protocol: TCP}, {name: u, port: 80, protocol: UDP}]";

/// Slices of `web-N` for these pods of the lab, in both families; the first pods are on this node.
pub fn slices(n: u8, pods: &[usize]) -> String {
    let slice = |family: usize| {
        let endpoints: String = pods.iter().fold(String::new(), |mut text, index| {
            let _ = writeln!(text, "  - {{addresses: ['{}'], nodeName: {NODE_NAME}}}", pod(*index)[family]);
            text
        });
        let endpoints = if pods.is_empty() { " []\n".to_owned() } else { format!("\n{endpoints}") };
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: web-{n}-v{v}\n  namespace: default\n  \
             labels: {{kubernetes.io/service-name: web-{n}}}\naddressType: IPv{v}\n\
             ports: [{{name: t, port: 8080, protocol: TCP}}, {{name: u, port: 8080, protocol: UDP}}]\nendpoints:{endpoints}",
            v = [4, 6][family]
        )
    };
    format!("{}---\n{}", slice(0), slice(1))
}
