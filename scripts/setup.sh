#!/bin/sh
# Makes sure of what the kernel tests and the demo need: root, and a few tools. Installs Debian packages only where a
# tool is missing; changes nothing otherwise.
set -eu

if [ "$(id -u)" -ne 0 ]; then
    echo "This makes network namespaces and nftables rules in them: run it as root (sudo make ...)." >&2
    exit 1
fi

missing=""
want() { # tool package
    command -v "$1" >/dev/null 2>&1 || case " $missing " in
    *" $2 "*) ;;
    *) missing="$missing $2" ;;
    esac
}
want nft nftables
want ip iproute2
want iptables-save iptables
want conntrack conntrack
want modprobe kmod
want cc build-essential

if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "Missing here, and no apt-get to install it:$missing" >&2
        exit 1
    fi
    echo "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    # The lists on the machine often do; fetch new ones only if they do not. Unquoted on purpose: one word a package.
    apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 || {
        apt-get update
        apt-get install -y --no-install-recommends $missing
    }
fi

if ! command -v cargo >/dev/null 2>&1 && ! command -v "${CARGO:-cargo}" >/dev/null 2>&1; then
    echo "Rust is missing: install it (rustup does), or put cargo on root's PATH (sudo -E env PATH=\"\$PATH\" make ...)." >&2
    exit 1
fi

probe="fp-setup-$$"
if ! ip netns add "$probe" 2>/dev/null; then
    echo "This machine does not let root make network namespaces (a container without CAP_SYS_ADMIN?)." >&2
    exit 1
fi
trap 'ip netns del "$probe"' EXIT
if ! ip netns exec "$probe" nft list ruleset >/dev/null 2>&1; then
    echo "nft does not work here: the kernel has no nf_tables, or root has no CAP_NET_ADMIN." >&2
    exit 1
fi
