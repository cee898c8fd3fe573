#!/usr/bin/env bash
# oci-archive.sh ROOTFS NAME:TAG FILE: writes an image with one layer as an OCI archive, without a builder. The same input gives the same bytes.
# `podman load -i FILE`, `buildah pull oci-archive:FILE`, `skopeo copy oci-archive:FILE ...` and `ctr images import FILE` read it.
set -euo pipefail

rootfs=$1 name=$2 file=$3
case $(uname -m) in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
*) arch=$(uname -m) ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
blobs=$work/blobs/sha256
mkdir -p "$blobs"

pack() { tar --directory "$1" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --create .; }
sum() { sha256sum "$1" | cut -d' ' -f1; }
# Puts a file among the blobs and says how others refer to it.
blob() {
    local digest size
    digest=$(sum "$2") size=$(stat -c %s "$2")
    mv "$2" "$blobs/$digest"
    printf '{"mediaType":"application/vnd.oci.image.%s","digest":"sha256:%s","size":%s' "$1" "$digest" "$size"
}

pack "$rootfs" >"$work/layer"
plain=$(sum "$work/layer")
gzip --no-name "$work/layer"
layer=$(blob layer.v1.tar+gzip "$work/layer.gz")'}'
printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],"Entrypoint":["/ferroproxy"],"Cmd":["run"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$arch" "$plain" >"$work/config"
config=$(blob config.v1+json "$work/config")'}'
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s,"layers":[%s]}' "$config" "$layer" >"$work/manifest"
manifest=$(blob manifest.v1+json "$work/manifest")
printf '{"schemaVersion":2,"manifests":[%s,"annotations":{"org.opencontainers.image.ref.name":"%s","io.containerd.image.name":"%s"}}]}' \
    "$manifest" "${name##*:}" "$name" >"$work/index.json"
printf '{"imageLayoutVersion":"1.0.0"}' >"$work/oci-layout"
pack "$work" >"$file"
