#!/bin/sh
# Make a virtual environment with the pinned dependencies: setup.sh PYTHON VENV
set -eu
python=$1 venv=$2

fail() { echo "setup: $1" >&2; exit 1; }

[ -n "$python" ] || fail "no Python found; install Python 3.11 (Debian: apt-get install python3.11 python3.11-venv)"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[ "$version" = 3.11 ] || fail "$python is Python $version; expected 3.11: make PYTHON=/path/to/python3.11 ..."
"$python" -c 'import ensurepip' 2>/dev/null || fail "$python cannot make environments; apt-get install python3.11-venv"

echo "setup: making $venv (some minutes on the first time)"
"$python" -m venv "$venv"

# Without an NVIDIA GPU the CPU build of torch saves some GB of download; PyPI has only the CUDA build.
if ! command -v nvidia-smi >/dev/null 2>&1; then
    torch=$(grep '^torch==' constraints.txt)
    "$venv/bin/pip" install --quiet --no-deps --retries 0 --timeout 15 \
        --index-url https://download.pytorch.org/whl/cpu "$torch" 2>/dev/null \
        || echo "setup: the CPU build of torch cannot be reached; taking PyPI's"
fi
"$venv/bin/pip" install --quiet --constraint constraints.txt --editable '.[dev]' \
    || fail "pip could not install the dependencies (see above); mend that and run the same command again"
