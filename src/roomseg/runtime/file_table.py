"""The table of an artifact's files: within the manifest while they are few, else in parts of bounded size.

A part is an immutable, content-addressed JSON, ``parts/<sha[:2]>/<sha256>.json``, with a thousand files, or a thousand
parts: the manifest stays small whatever the number of files, and a file is found by reading one part a level.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from roomseg.errors import UserError
from roomseg.runtime.storage import MissingKey, Store

LARGEST = 1000  # entries in one table
KEPT_PARTS = 16  # in memory


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Closed):
    name: str = Field(min_length=1)
    key: str = Field(min_length=1)
    size: int = Field(ge=0)  # bytes
    sha256: str = Field(pattern="^[0-9a-f]{64}$")

    @field_validator("key")
    @classmethod
    def _stays_in_the_store(cls, key: str) -> str:
        if key.startswith("/") or ".." in key.split("/") or not key.isprintable():
            raise ValueError(f"{key!r} is no key of a store")
        return key


class Part(_Closed):
    first: str = Field(min_length=1)  # name of its first file
    count: int = Field(ge=1)  # files in it, and in its parts
    sha256: str = Field(pattern="^[0-9a-f]{64}$")

    @property
    def key(self) -> str:
        return f"parts/{self.sha256[:2]}/{self.sha256}.json"


class Table(_Closed):
    """Files, or parts; sorted by name."""

    files: tuple[FileEntry, ...] = ()
    parts: tuple[Part, ...] = ()

    @property
    def count(self) -> int:
        return len(self.files) + sum(part.count for part in self.parts)

    @property
    def first(self) -> str:
        return self.parts[0].first if self.parts else self.files[0].name


def write_table(store: Store, files: Sequence[FileEntry], largest: int = LARGEST) -> Table:
    """The table of files that are sorted by name; parts that it needs are stored."""
    tables = [Table(files=tuple(group)) for group in _groups(files, largest)]
    while len(tables) > 1:
        parts = [_store_part(store, table) for table in tables]
        tables = [Table(parts=tuple(group)) for group in _groups(parts, largest)]
    return tables[0]


class TableReader:
    """Finds files in a table. Raises ``UserError`` for a part that is damaged or gone."""

    def __init__(self, store: Store, table: Table, remedy: str) -> None:
        self._store, self._table, self._remedy = store, table, remedy
        self._load: Callable[[Part], Table] = lru_cache(KEPT_PARTS)(self._read)

    def find(self, name: str) -> FileEntry:
        """Raises ``KeyError`` for a name that is none of the artifact's."""
        table = self._table
        while table.parts:
            place = bisect_right(table.parts, name, key=lambda part: part.first)
            if place == 0:
                raise KeyError(name)
            table = self._load(table.parts[place - 1])
        place = bisect_right(table.files, name, key=lambda file: file.name)
        if place == 0 or table.files[place - 1].name != name:
            raise KeyError(name)
        return table.files[place - 1]

    def files(self, prefix: str = "") -> Iterator[FileEntry]:
        """Those whose names start with ``prefix``, sorted; only parts that may hold such are read."""
        yield from self._walk(self._table, prefix)

    def _walk(self, table: Table, prefix: str) -> Iterator[FileEntry]:
        yield from (file for file in table.files if file.name.startswith(prefix))
        start = max(0, bisect_right(table.parts, prefix, key=lambda part: part.first) - 1)
        for part in table.parts[start:]:
            if part.first > prefix and not part.first.startswith(prefix):
                return
            yield from self._walk(self._load(part), prefix)

    def _read(self, part: Part) -> Table:
        where = f"{self._store.url}/{part.key}, a part of the file table,"
        try:
            data = self._store.get_bytes(part.key)
        except MissingKey:
            raise UserError(f"{where} is not there: {self._remedy}") from None
        if hashlib.sha256(data).hexdigest() != part.sha256:
            raise UserError(f"{where} is damaged: {self._remedy}")
        try:
            return Table.model_validate_json(data)
        except ValidationError:
            raise UserError(f"{where} is of another version of roomseg: {self._remedy}") from None


def _store_part(store: Store, table: Table) -> Part:
    data = table.model_dump_json(exclude_defaults=True).encode()
    part = Part(first=table.first, count=table.count, sha256=hashlib.sha256(data).hexdigest())
    store.put_bytes(part.key, data)
    return part


def _groups(entries: Sequence[Any], largest: int) -> list[Sequence[Any]]:
    """One at least."""
    return [entries[start : start + largest] for start in range(0, max(len(entries), 1), largest)]
