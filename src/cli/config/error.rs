//! What can be wrong with a configuration.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// One field that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field's path in `KubeProxyConfiguration`, or the flag that gave it.
    pub field: String,
    /// What is wrong, with the value.
    pub reason: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

/// Why there is no configuration. Every variant ends the process with [`ConfigError::EXIT_CODE`].
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("cannot read {what} {}: {source}", path.display())]
    Read {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is no `KubeProxyConfiguration`, or a field has the wrong type.
    #[error("configuration file {}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Path, line and column with what is wrong.
        message: String,
    },
    /// `--strict`, and there are keys nobody knows.
    #[error("configuration file {}: unknown keys (--strict): {}", path.display(), keys.join(", "))]
    UnknownKeys {
        /// The file.
        path: PathBuf,
        /// Their paths.
        keys: Vec<String>,
    },
    /// Fields with impossible values.
    #[error("invalid configuration: {}", join(.0))]
    Invalid(Vec<FieldError>),
    /// A mode of kube-proxy that ferroproxy has not got.
    #[error("mode \"{mode}\": {advice}")]
    Mode {
        /// The mode asked for.
        mode: String,
        /// What to do instead.
        advice: &'static str,
    },
    /// Neither a directory nor an API server was named, and this is no pod.
    #[error(
        "no source: give --manifests DIR, --config FILE, --kubeconfig FILE or --master URL \
         (without a kubeconfig the API server is found from the environment of a pod, and KUBERNETES_SERVICE_HOST is not set)"
    )]
    NoSource,
    /// The node has no name.
    #[error("cannot find out the node's name: {0}; give --hostname-override or set NODE_NAME")]
    NodeName(String),
}

impl ConfigError {
    /// The exit code of a process that got no configuration; the same as for arguments that cannot be parsed.
    pub const EXIT_CODE: u8 = 2;
}

fn join(errors: &[FieldError]) -> String {
    errors.iter().map(FieldError::to_string).collect::<Vec<_>>().join("; ")
}
