"""What happens to files: bits turn over, parts go missing or come twice, numbers become extreme."""

from __future__ import annotations

import io
import random
import re
import zipfile

EXTREMES = (b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\x00\x00\x00")
WORDS = (
    b"nan",
    b"-1",
    b"1e308",
    b"99999999999999999999",
    b"null",
    b'"',
    b"[" * 3000,
    b"../../../etc/passwd",
    b"\x00",
    b"0",
)


def mutated(data: bytes, seed: int) -> bytes:
    """One to four changes; the same seed makes the same ones."""
    rng = random.Random(seed)
    for _ in range(rng.randint(1, 4)):
        data = rng.choice(CHANGES)(data, rng)
    return data


def mutated_zip(data: bytes, seed: int) -> bytes:
    """Every other time the archive is damaged, else the content of one of its members, packed or not."""
    rng = random.Random(seed)
    if rng.random() < 0.5:
        return mutated(data, seed)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    members[name] = mutated(members[name], seed)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def _flip(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(max(len(data), 1))
    return data[:at] + bytes(byte ^ (1 << rng.randrange(8)) for byte in data[at : at + 1]) + data[at + 1 :]


def _truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _drop(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.randint(1, 64) :]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[: at + rng.randint(1, 200)] + data[at:]


def _noise(data: bytes, rng: random.Random) -> bytes:
    at, n = rng.randrange(len(data) + 1), rng.randint(1, 16)
    return data[:at] + rng.randbytes(n) + data[at + n :]


def _extreme(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(min(len(data), 512) + 1) if rng.random() < 0.7 else rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(EXTREMES) + data[at + 4 :]


def _word(data: bytes, rng: random.Random) -> bytes:
    """In place of a number or a name of a text."""
    found = list(re.finditer(rb"-?[\w.]+", data[:100_000]))
    if not found:
        return data
    match = rng.choice(found)
    return data[: match.start()] + rng.choice(WORDS) + data[match.end() :]


CHANGES = (_flip, _truncate, _drop, _repeat, _noise, _extreme, _word)
