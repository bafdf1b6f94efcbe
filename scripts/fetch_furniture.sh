#!/bin/sh
# Puts the free Sweet Home 3D furniture libraries and textures into a folder, from the Debian packages
# sweethome3d-furniture and sweethome3d. Needs apt-get and dpkg, but no root.
#
#   fetch_furniture.sh DEST
#
# Without the packages it says so and succeeds: the generator has furniture of its own.
set -eu

FILES="BlendSwap-CC-0.sh3f BlendSwap-CC-BY.sh3f KatorLegaz.sh3f Reallusion.sh3f Scopia.sh3f sweethome3d.jar
copyright-sweethome3d-furniture copyright-sweethome3d"

if [ "$#" -ne 1 ] || [ -z "$1" ]; then
    echo "usage: fetch_furniture.sh DEST" >&2
    exit 2
fi
dest=${1%/}

complete() {
    for file in $FILES; do
        [ -s "$dest/$file" ] || return 1
    done
}

do_without() {
    echo "furniture: $1; the generator will use its own parametric furniture"
    exit 0
}

if complete; then
    exit 0
fi
command -v apt-get >/dev/null 2>&1 || do_without "there is no apt-get here"
command -v dpkg >/dev/null 2>&1 || do_without "there is no dpkg here"

mkdir -p "$(dirname -- "$dest")"
work=$(mktemp -d "$dest.partial.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$work/debs" "$work/root" "$work/new"

echo "furniture: downloading sweethome3d-furniture and sweethome3d (about 145 MB)"
(cd "$work/debs" && apt-get -q download sweethome3d-furniture sweethome3d) >"$work/log" 2>&1 ||
    do_without "apt-get could not download sweethome3d-furniture and sweethome3d (is there a network? 'apt-get update' as root may help)"

for deb in "$work"/debs/*.deb; do
    dpkg -x "$deb" "$work/root" >>"$work/log" 2>&1 || do_without "$(basename "$deb") could not be unpacked"
done

share="$work/root/usr/share"
cp "$share"/sweethome3d/furniture/*.sh3f "$share/sweethome3d/sweethome3d.jar" "$work/new/"
cp "$share/doc/sweethome3d-furniture/copyright" "$work/new/copyright-sweethome3d-furniture"
cp "$share/doc/sweethome3d/copyright" "$work/new/copyright-sweethome3d"
chmod 755 "$work/new"
chmod 644 "$work/new"/*

# The work folder lies beside DEST, so these are renames: DEST never holds half a file.
if [ -e "$dest" ]; then
    mv -f "$work/new"/* "$dest/"
else
    mv "$work/new" "$dest"
fi
echo "furniture: the libraries are in $dest"
