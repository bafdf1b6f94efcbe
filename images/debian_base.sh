#!/bin/sh
# A stand-in for python:3.11-slim from Debian's packages, where no registry can be reached: needs root, debootstrap and
# buildah.
#
#   images/debian_base.sh TAG
set -eu

[ $# = 1 ] || { echo "usage: debian_base.sh TAG" >&2; exit 2; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=ca-certificates,python3.11,python3.11-venv,python3-distutils,python3-lib2to3 \
    bookworm "$root" >"$root.log" 2>&1 || { tail -20 "$root.log" >&2; exit 1; }
rm -rf "$root.log" "$root"/var/cache/apt/archives/*.deb
container=$(buildah from scratch)
buildah copy --quiet "$container" "$root" / >/dev/null
buildah commit --quiet --rm "$container" "$1" >/dev/null
echo "made $1"
