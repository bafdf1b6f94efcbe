"""Write requirements.lock: constraints.txt and what PyPI's torch needs for GPUs, each with the sha256 of its file.

    python scripts/lock.py

pip resolves against PyPI alone, whatever its configuration says, and installs nothing. The files are those that this
machine would get: run it on Linux x86-64 with Python 3.11, with a recent pip, which need not download most of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEAD = """\
# constraints.txt with hashes, for Linux x86-64, Python 3.11, PyPI's torch (CUDA); made by: python scripts/lock.py
# pip install --require-hashes -r requirements.lock
"""


def lock(report: dict) -> str:
    """The requirements of pip's installation report, in alphabetical order; ``KeyError`` if a file has no sha256."""
    lines = [
        f"{each['metadata']['name']}=={each['metadata']['version']} \\\n"
        f"    --hash=sha256:{each['download_info']['archive_info']['hashes']['sha256']}\n"
        for each in report["install"]
    ]
    return HEAD + "".join(sorted(lines, key=str.lower))


def resolve() -> dict:
    """pip's report of what it would install."""
    options = ["--dry-run", "--ignore-installed", "--quiet", "--report", "-", "--requirement", "constraints.txt"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options],
        cwd=ROOT, env=plain | {"PIP_CONFIG_FILE": os.devnull}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit("lock.py: pip could not resolve constraints.txt (see above)")
    return json.loads(done.stdout)


if __name__ == "__main__":
    (ROOT / "requirements.lock").write_text(lock(resolve()))
