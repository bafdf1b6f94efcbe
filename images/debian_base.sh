#!/bin/sh
# A stand-in for python:3.11-slim from Debian's packages, where no registry can be reached: needs root, debootstrap and
# buildah. Whatever happens, nothing but the image stays.
#
#   images/debian_base.sh TAG
set -eu

[ $# = 1 ] || { echo "usage: debian_base.sh TAG" >&2; exit 2; }
work=$(mktemp -d) container=

clean() {
    [ -z "$container" ] || buildah rm "$container" >/dev/null
    rm -rf --one-file-system "$work"
}
trap clean EXIT
trap 'exit 130' HUP INT TERM

# In a mount namespace of its own: what debootstrap mounts is gone when it ends, also when it is killed.
unshare --mount debootstrap --variant=minbase \
    --include=ca-certificates,python3.11,python3.11-venv,python3-distutils,python3-lib2to3 \
    bookworm "$work/root" >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; exit 1; }
rm -f "$work"/root/var/cache/apt/archives/*.deb
container=$(buildah from scratch)
buildah copy --quiet "$container" "$work/root" / >/dev/null
buildah commit --quiet "$container" "$1" >/dev/null
echo "made $1"
