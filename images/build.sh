#!/bin/sh
# Build an image and, with a registry, push it and print the line for ~/.config/roomseg.toml.
#
#   images/build.sh render|train|train-cpu [REGISTRY/PREFIX]
#
# With buildah, or docker where there is none. BUILD_OPTIONS goes to the builder as it is.
set -eu

fail() { echo "build.sh: $1" >&2; exit "${2:-2}"; }

name=${1:-} registry=${2:-}
case $name in
    render) folder=render options= ;;
    train) folder=train options= ;;
    train-cpu) folder=train options="--build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu" ;;
    *) fail "got ${name:-no image}; expected render, train or train-cpu" ;;
esac
builder=$(command -v buildah || command -v docker) || fail "there is neither buildah nor docker here" 1
cd "$(dirname "$0")/.."
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' src/roomseg/__init__.py)
tag=${registry:-localhost/roomseg}/$name:$version

# shellcheck disable=SC2086  # options are words
"$builder" build $options ${BUILD_OPTIONS:-} --file "images/$folder/Dockerfile" --tag "$tag" .
echo "built $tag"
[ -n "$registry" ] || exit 0

"$builder" push "$tag"
case $builder in
    *buildah) digest=$(buildah inspect --type image --format '{{.FromImageDigest}}' "$tag") ;;
    *) digest=$(docker inspect --format '{{index .RepoDigests 0}}' "$tag" | sed 's/.*@//') ;;
esac
echo "$folder = \"${registry}/$name@$digest\""
