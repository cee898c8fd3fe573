#!/usr/bin/env bash
# image-start.sh ROOTFS VARIANT: starts what an image will hold, in that root and nothing else, read-only, in namespaces of its own (root). The
# commands must work and the rules must arrive in the kernel.
set -euo pipefail

rootfs=$(realpath "$1") variant=$2 demo=$(realpath "$(dirname "$0")/../manifests/demo")
if [ "$(id -u)" != 0 ]; then
    printf '\n*** NOT RUN: starting the image takes root ***\n\n' >&2
    exit 0
fi

# The root is laid out on a tmpfs with what a container runtime mounts: proc, /etc/hosts, and here the demo's manifests. Then it is read-only.
inside() {
    mount --make-rprivate /
    mount -t tmpfs tmpfs "$root"
    cp -a "$1/." "$root"
    mkdir -p "$root/proc" "$root/demo" "$root/etc"
    echo "127.0.0.1 api.test" >"$root/etc/hosts"
    mount -t proc proc "$root/proc"
    mount --bind "$3" "$root/demo"
    mount -o remount,ro "$root"
    ip link set lo up
    local node=(--manifests /demo --hostname-override demo-node --cluster-cidr "10.244.0.0/16,fd00:10:244::/56" --conntrack-max-per-core=0)
    start() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" /ferroproxy "$@"; }
    start version
    start render "${node[@]}" | grep -c 'shop/web:http' >/dev/null
    start run --once "${node[@]}" --oom-score-adj="$(cat /proc/self/oom_score_adj)"
    start diff "${node[@]}"
    nft list table ip ferroproxy | grep -c 'shop/web:http' >/dev/null
    start cleanup
    # A static binary has its resolver in it or none: the name must become an address, where nobody listens.
    (timeout 5 env -i PATH="$PATH" chroot "$root" /ferroproxy run --master http://api.test:1 --hostname-override n || true) 2>&1 | grep -m1 'Connection refused'
    if [ "$2" = iptables ]; then chroot "$root" /usr/sbin/iptables-restore --version && chroot "$root" /usr/sbin/ip6tables-save --version; fi
}
export -f inside
root=$(mktemp -d)
trap 'rmdir "$root"' EXIT
export root
unshare --mount --net --pid --fork --kill-child bash -euo pipefail -c 'inside "$@"' inside "$rootfs" "$variant" "$demo"
echo "$variant: starts in its own root and nothing else"
