#!/usr/bin/env bash
# iptables-rootfs.sh DIR: puts Debian's iptables, both variants, and the libraries it needs into DIR/rootfs. Nothing is installed here.
set -euo pipefail

out=$1
packages=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances iptables |
    grep -E '^[a-z0-9]' | grep -vE '^(debconf|debconf-2.0|dpkg|perl.*|tar|install-info|cdebconf)$' | sort -u)
mkdir -p "$out/packages"
# shellcheck disable=SC2086 # a list of names
(cd "$out/packages" && apt-get download -q=2 $packages)
for package in "$out"/packages/*.deb; do dpkg-deb --extract "$package" "$out/rootfs"; done
# Documents and the resolver's odds and ends are no part of it.
rm -rf "$out/rootfs/usr/share" "$out/rootfs/etc" "$out/rootfs/usr/lib"/*/gconv "$out/rootfs/usr/lib/systemd"
for variant in "" -restore -save; do
    for family in ip ip6; do ln -sf xtables-nft-multi "$out/rootfs/usr/sbin/${family}tables$variant"; done
done
mkdir -p "$out/rootfs/run"
