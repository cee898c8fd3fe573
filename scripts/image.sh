#!/usr/bin/env bash
# Makes a container image: `scripts/image.sh nftables` (the default: one static binary and nothing else) or `scripts/image.sh iptables` (with
# Debian's iptables). The image goes to whichever builder is here (buildah, podman, docker), else to an OCI archive that all of them load.
# BINARY=FILE takes a static binary that exists instead of building one; BUILDER=archive writes the archive whatever is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

variant=${1:-nftables}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
out=${CARGO_TARGET_DIR:-target}/container/$variant
limit=15000000
triple=$(rustc -vV | sed -n 's/^host: //p')
tag=ferroproxy:$version
case $variant in
nftables) ;;
iptables) tag+=-iptables ;;
*) echo "image.sh: $variant is neither nftables nor iptables" >&2; exit 2 ;;
esac

binary=${BINARY:-${CARGO_TARGET_DIR:-target}/$triple/image/ferroproxy}
if [ -z "${BINARY:-}" ]; then
    RUSTFLAGS='-C target-feature=+crt-static' "${CARGO:-cargo}" build --profile image --bin ferroproxy --target "$triple"
fi

rm -rf "$out"
mkdir -p "$out/rootfs"
install -m 0755 "$binary" "$out/rootfs/ferroproxy"
size=$(stat -c %s "$out/rootfs/ferroproxy")
echo "$variant: the binary has $size bytes"
if [ "$size" -ge $limit ]; then
    echo "image.sh: that is not under $limit" >&2
    exit 1
fi
if [ "$variant" = iptables ]; then scripts/iptables-rootfs.sh "$out"; fi
scripts/image-start.sh "$out/rootfs" "$variant"

builder=${BUILDER:-}
for candidate in buildah podman docker; do
    # A docker without its daemon builds nothing.
    if [ -z "$builder" ] && "$candidate" info >/dev/null 2>&1; then builder=$candidate; fi
done
case ${builder:-archive} in
buildah) buildah build --tag "$tag" --file image/Containerfile "$out/rootfs" ;;
podman | docker) "$builder" build --tag "$tag" --file image/Containerfile "$out/rootfs" ;;
archive) scripts/oci-archive.sh "$out/rootfs" "$tag" "$out/ferroproxy.tar" ;;
*) echo "image.sh: BUILDER=$builder is none of buildah, podman, docker, archive" >&2; exit 2 ;;
esac
echo "$variant: $tag by ${builder:-archive}"
