//! Rung 6: the container image. `make image` starts what it has laid out before it packs it; here the packing without a builder is held
//! against the OCI image layout, and a static binary that `make image` has left behind is started in an empty root once more.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::netns::{self, run};
use tempfile::TempDir;

fn script(name: &str) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// Packs a root with one executable file.
fn archive(dir: &Path, name: &str) -> PathBuf {
    let (root, file) = (dir.join("rootfs"), dir.join(name));
    fs::create_dir_all(&root).expect("a directory");
    fs::write(root.join("ferroproxy"), "the binary").expect("written");
    run(script("oci-archive.sh").args([&root, Path::new("ferroproxy:9.9"), &file]));
    file
}

/// A blob's content after its descriptor was checked: digest and size.
fn blob(layout: &Path, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:")).expect("a digest");
    let path = layout.join("blobs/sha256").join(digest);
    let sum = run(Command::new("sha256sum").arg(&path));
    assert_eq!(sum.split(' ').next(), Some(digest));
    let content = fs::read(path).expect("the blob is there");
    assert_eq!(descriptor["size"], content.len());
    content
}

#[test]
fn the_archive_is_an_oci_layout_of_one_layer_and_always_the_same() {
    let dir = TempDir::new().expect("a directory");
    let first = archive(dir.path(), "first.tar");
    fs::remove_dir_all(dir.path().join("rootfs")).expect("removed");
    let second = archive(dir.path(), "second.tar");
    assert!(fs::read(&first).expect("readable") == fs::read(second).expect("readable"), "the same bytes");

    let layout = dir.path().join("layout");
    fs::create_dir(&layout).expect("a directory");
    run(Command::new("tar").arg("-xf").arg(first).arg("-C").arg(&layout));
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
    assert_eq!(json(&fs::read(layout.join("oci-layout")).expect("readable"))["imageLayoutVersion"], "1.0.0");
    let index = json(&fs::read(layout.join("index.json")).expect("readable"));
    assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "9.9");
    let manifest = json(&blob(&layout, &index["manifests"][0]));
    let config = json(&blob(&layout, &manifest["config"]));
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/ferroproxy"]));
    let layer = dir.path().join("layer.tar.gz");
    fs::write(&layer, blob(&layout, &manifest["layers"][0])).expect("written");
    run(Command::new("gzip").arg("-d").arg(&layer));
    let plain = run(Command::new("sha256sum").arg(dir.path().join("layer.tar")));
    assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", plain.split(' ').next().expect("a sum")));
    let names = run(Command::new("tar").arg("-tf").arg(dir.path().join("layer.tar")));
    assert_eq!(names.lines().collect::<Vec<_>>(), ["./", "./ferroproxy"]);
}

#[test]
fn a_static_binary_starts_in_an_empty_root() {
    let target = PathBuf::from(env!("CARGO_BIN_EXE_ferroproxy"));
    let target = target.ancestors().nth(2).expect("a target directory");
    let root = target.join("container/nftables/rootfs");
    if !netns::is_possible() {
        return;
    }
    if !root.join("ferroproxy").exists() {
        eprintln!("\n*** NOT RUN: no static binary is in {}; `make image` makes it ***\n", root.display());
        return;
    }
    let said = run(script("image-start.sh").args([root.as_path(), Path::new("nftables")]));
    assert!(said.contains("nftables: starts in its own root and nothing else"), "{said}");
}
