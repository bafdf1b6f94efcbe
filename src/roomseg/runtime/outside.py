"""Files outside the store that a configuration names (``Section.outside_files``): local paths or ``s3://bucket/key``."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from roomseg.config import Section
from roomseg.errors import UsageError, UserError
from roomseg.runtime.fingerprint import digest_of
from roomseg.runtime.local_files import Copies
from roomseg.runtime.s3 import S3Store
from roomseg.runtime.storage import local_errors, sha256_of


def outside_digests(stage: str, section: Section) -> dict[str, str]:
    """What tells one content from another, by the files' names in the section; raises ``UserError``."""
    return {name: _named_version(f"{stage} ({name})", uri) for name, uri in section.outside_files().items()}


def fetch_outside(uri: str, cache: Path, work_dir: Path) -> Path:
    """The file itself, or a local copy; raises ``UserError``.

    Copies may go while a stage still reads: it reads by a name of its own in ``work_dir``, which is on the same disk.
    """
    if not uri.startswith("s3://"):
        return _local(uri)
    store, key = _on_s3(uri)
    name = f"outside/{digest_of([uri, store.etag(key)])[:20]}/{Path(key).name}"
    copies = Copies(cache)
    copy, own = copies.path(name), work_dir / name
    if not copies.touch(copy):
        copies.make_room(store.size(key))
        store.fetch(key, copy)
    with local_errors("write", own), suppress(FileExistsError):
        own.parent.mkdir(parents=True, exist_ok=True)
        os.link(copy, own)
    return own


def _named_version(what: str, uri: str) -> str:
    try:
        return _version(uri)
    except UserError as error:
        raise UserError(f"{what}: {error}") from error


def _version(uri: str) -> str:
    if not uri.startswith("s3://"):
        return sha256_of(_local(uri))
    store, key = _on_s3(uri)
    return store.etag(key)


def _local(uri: str) -> Path:
    path = Path(uri).expanduser().absolute()
    if not path.is_file():
        raise UserError(f"{path} is not there, or no file")
    return path


def _on_s3(uri: str) -> tuple[S3Store, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise UsageError(f"{uri}: expected s3://bucket/key")
    return S3Store(bucket, ""), key
