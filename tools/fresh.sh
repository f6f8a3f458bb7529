#!/bin/bash
# tools/fresh.sh -- do the first steps of the documentation work on a fresh Debian 12?
#
# Usage: tools/fresh.sh [TARGET] (as root; demo when not given). Makes a minimal Debian with `make`
# in a directory under TMPDIR, copies the tracked and new files of this tree into it, and runs
# `make TARGET` there. A package that is missing from the lists of the Makefile but present on the
# developer's machine shows here. The package mirror is the machine's own.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || { echo "fresh: debootstrap and chroot need root" >&2; exit 1; }
tools/deps.sh debootstrap git

# In a mount namespace, so that nothing stays mounted.
if [ "${FRESH_INSIDE:-}" != yes ]; then
    FRESH_INSIDE=yes exec unshare -m "$0" "$@"
fi

target=${1:-demo}
root=$(mktemp -d)
chmod 755 "$root"
leave() {
    umount -l "$root/proc" "$root/dev" 2>/dev/null || true
    rm -rf --one-file-system "$root"
}
trap leave EXIT
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Created-By: Packages' | awk '$2 == "bookworm" && $3 == "main" {print $1; exit}')
debootstrap --variant=minbase --include=make,ca-certificates bookworm "$root" "$mirror" >/dev/null

# The way to the mirror is the machine's: its sources, proxy and certificates.
rm -f "$root/etc/apt/sources.list"
for part in sources.list sources.list.d apt.conf.d trusted.gpg.d; do
    [ -e "/etc/apt/$part" ] && cp -rL "/etc/apt/$part" "$root/etc/apt/"
done
mkdir -p "$root/usr/share/keyrings"
cp -n /usr/share/keyrings/* "$root/usr/share/keyrings/" 2>/dev/null || true
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
if [ -n "${NODE_EXTRA_CA_CERTS:-}" ] && [ -f "$NODE_EXTRA_CA_CERTS" ]; then
    install -D -m 644 "$NODE_EXTRA_CA_CERTS" "$root$NODE_EXTRA_CA_CERTS"
fi
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --make-rslave "$root/dev"

mkdir "$root/causeway"
git ls-files -co --exclude-standard -z | xargs -0 cp --parents -t "$root/causeway"
unset MAKEFLAGS MAKELEVEL MAKEOVERRIDES FRESH_INSIDE
if chroot "$root" make -C /causeway "$target" </dev/null; then
    echo "1 passed, 0 failed"
else
    echo "0 passed, 1 failed"
    exit 1
fi
