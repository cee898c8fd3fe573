//! `ferroproxy version`.

use serde_json::json;

use super::OK;
use super::args::Output;

/// Prints the version on stdout.
pub(super) fn version(output: Output) -> anyhow::Result<u8> {
    let version = env!("CARGO_PKG_VERSION");
    match output {
        Output::Text => println!("ferroproxy {version}"),
        Output::Json => println!("{}", json!({ "name": "ferroproxy", "version": version })),
    }
    Ok(OK)
}
