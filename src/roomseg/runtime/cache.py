"""The results that runs share: ``cache/<kind>/<key[:2]>/<key>``, a sha256 of the content and then the content.

A cache is never needed: what is not there, half there or damaged is made again. Nothing here is ever overwritten with
something else, because the key is a digest of all that decides the content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from roomseg.errors import UserError
from roomseg.runtime.fingerprint import digest_of, module_digest
from roomseg.runtime.local_files import Copies
from roomseg.runtime.storage import DirectoryStore, MissingKey, Store, is_disk_full

_SEAL = hashlib.sha256().digest_size  # bytes before the content


class StoreCache:
    """``ports.Cache`` over a store. What a remote store holds is also kept among the local copies, where it fits."""

    def __init__(self, store: Store, cache: Path, say: Callable[[str], None]) -> None:
        self._store, self._say = store, say
        self._copies = Copies(cache)
        self._near: Store = store if isinstance(store, DirectoryStore) else DirectoryStore(self._copies.folder)

    def key(self, kind: str, parts: Mapping[str, Any], module: str) -> str:
        return f"{kind}/{digest_of({'parts': dict(parts), 'code': _code(module)})}"

    def get(self, key: str) -> bytes | None:
        for place in dict.fromkeys((self._near, self._store)):
            content = self._read(place, key)
            if content is not None:
                if place is not self._near:
                    self._keep_near(key, content)
                elif place is not self._store:
                    self._copies.touch(self._copies.path(_path(key)))
                return content
        return None

    def put(self, key: str, content: bytes) -> None:
        self._store.put_bytes(_path(key), _sealed(content))
        if self._near is not self._store:
            self._keep_near(key, content)

    def _keep_near(self, key: str, content: bytes) -> None:
        """If there is no room within the bound or on the disk, the store has it all the same."""
        if not self._copies.make_room(_SEAL + len(content)):
            return
        try:
            self._near.put_bytes(_path(key), _sealed(content))
        except UserError as error:
            if not is_disk_full(error):
                raise

    def _read(self, place: Store, key: str) -> bytes | None:
        try:
            sealed = place.get_bytes(_path(key))
        except MissingKey:
            return None
        content = sealed[_SEAL:]
        if sealed == _sealed(content):
            return content
        self._say(f"{place.url}/{_path(key)} is damaged: it is made again")
        return None


def _path(key: str) -> str:
    kind, _, digest = key.partition("/")
    return f"cache/{kind}/{digest[:2]}/{digest}"


def _sealed(content: bytes) -> bytes:
    return hashlib.sha256(content).digest() + content


@lru_cache(maxsize=64)
def _code(module: str) -> str:
    return module_digest(module)
