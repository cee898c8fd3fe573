//! A changed configuration file ends the process, as kube-proxy does it: its supervisor starts it anew with what the file says now.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the file is looked at. A mounted ConfigMap changes by a swap of links, which a look at the content sees and a watch of the file does not.
const PERIOD: Duration = Duration::from_secs(5);

/// Answers when the file's content is no longer what it is now, with a message; never without a file.
///
/// # Errors
/// When the file cannot be read now.
pub(super) fn watch(file: Option<&Path>) -> std::io::Result<impl Future<Output = String> + use<>> {
    let known = file.map(|path| Ok::<_, std::io::Error>((path.to_owned(), fs::read(path)?))).transpose()?;
    Ok(async move {
        match known {
            Some((path, content)) => changed(path, content).await,
            None => std::future::pending().await,
        }
    })
}

async fn changed(path: PathBuf, known: Vec<u8>) -> String {
    let mut clock = tokio::time::interval(PERIOD);
    loop {
        clock.tick().await;
        // A file that is not there for a moment is being replaced.
        if fs::read(&path).is_ok_and(|now| now != known) {
            return format!("the configuration file {} has changed; start again to use it", path.display());
        }
    }
}
