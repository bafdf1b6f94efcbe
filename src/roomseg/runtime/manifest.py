"""The manifest: what a complete artifact holds, what made it and from what. It is written last.

In a store: ``artifacts/<stage>/<fingerprint>/manifest.json``; the files lie content-addressed in
``shards/<sha[:2]>/<sha256><suffix>``. Where they are many, the manifest names parts of their table (``file_table.py``).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from roomseg.errors import UsageError, UserError
from roomseg.runtime.file_table import FileEntry, Part, Table
from roomseg.runtime.fingerprint import digest_of
from roomseg.runtime.storage import MissingKey, Store

FORMAT = "roomseg-artifact-2"


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Parent(_Closed):
    stage: str
    fingerprint: str
    digest: str


class Origin(_Closed):
    """What an artifact is made of."""

    stage: str
    fingerprint: str
    code_version: str
    config: dict[str, Any]  # the whole section, with the fields that only say how to run
    parents: dict[str, Parent]

    @property
    def folder(self) -> str:
        return f"artifacts/{self.stage}/{self.fingerprint}"

    def journal_key(self, name: str) -> str:
        """Where it is noted that a file of the artifact has been added."""
        return f"{self.folder}/added/{quote(name, safe='')}.json"

    def remedy(self, store_url: str, name: str | None = None) -> str:
        """What to do where a file, or the table of files, is damaged: all the rest is kept."""
        manifest, entry = f"{store_url}/{self.folder}/manifest.json", ""
        if name is not None:
            entry = f" and {store_url}/{self.journal_key(name)}"
        return f"delete {manifest}{entry} and run {self.stage} again"


class Manifest(Origin):
    format: str = FORMAT
    files: tuple[FileEntry, ...]  # sorted by name; none where there are parts
    parts: tuple[Part, ...] = ()  # of the table of files
    scores: dict[str, float]  # a score that is not a number is null in the JSON
    seconds: float = Field(ge=0)  # wall-clock, all attempts together
    attempts: int = Field(ge=1)
    created: str  # UTC, ISO 8601

    @field_validator("format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        if value != FORMAT:
            raise ValueError(f"format {value!r}, expected {FORMAT!r}")
        return value

    @field_validator("scores", mode="before")
    @classmethod
    def _null_is_nan(cls, scores: Any) -> Any:
        return {k: math.nan if v is None else v for k, v in scores.items()} if isinstance(scores, dict) else scores

    @property
    def table(self) -> Table:
        return Table(files=self.files, parts=self.parts)

    @property
    def digest(self) -> str:
        """sha256 over what was made: the same files from the same fingerprint have it, whenever they were made."""
        return digest_of({"stage": self.stage, "fingerprint": self.fingerprint, **self.table.model_dump()})

    def as_parent(self) -> Parent:
        return Parent(stage=self.stage, fingerprint=self.fingerprint, digest=self.digest)

    def to_json(self) -> str:
        values = self.model_dump(mode="json")
        values["scores"] = {name: value if math.isfinite(value) else None for name, value in self.scores.items()}
        return json.dumps(values, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "the manifest") -> Self:
        """Raises ``UserError`` that names ``where`` if the text is cut off, damaged or of another format."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            reason = f"{field}: {first['msg']}" if field else first["msg"]
        raise UserError(f"{where} is no valid manifest ({reason}): delete it and run the stage again")


def manifest_key(stage: str, fingerprint: str) -> str:
    return f"artifacts/{stage}/{fingerprint}/manifest.json"


def read_manifest(store: Store, stage: str, fingerprint: str) -> Manifest | None:
    """The manifest of a complete artifact, or None; raises ``UserError`` for a damaged one."""
    key = manifest_key(stage, fingerprint)
    try:
        text = store.get_bytes(key)
    except MissingKey:
        return None
    where = f"{store.url}/{key}"
    manifest = Manifest.from_json(text, where)
    if (manifest.stage, manifest.fingerprint) != (stage, fingerprint):
        raise UserError(f"{where} is of {manifest.stage} {manifest.fingerprint}: delete it and run {stage} again")
    return manifest


def complete_manifests(store: Store, stage: str) -> list[Manifest]:
    """Of all complete artifacts of a stage, in no order; raises ``UserError`` for a damaged one."""
    found = (read_manifest(store, stage, name) for name in store.folders(f"artifacts/{stage}/"))
    return [manifest for manifest in found if manifest is not None]


def newest_manifest(store: Store, stage: str, what: str, fingerprint: str = "") -> Manifest:
    """Of the newest complete artifact of a stage, or of the one named; raises ``UserError`` that calls it ``what``."""
    if fingerprint:
        _check_fingerprint(store, stage, fingerprint)
        named = read_manifest(store, stage, fingerprint)
        found = [named] if named is not None else []
    else:
        found = complete_manifests(store, stage)
    if not found:
        which = f"no complete {what} {fingerprint}".rstrip()
        raise UserError(f"{store.url} has {which}: run `roomseg {stage}` with this store first")
    return max(found, key=lambda manifest: manifest.created)


def _check_fingerprint(store: Store, stage: str, fingerprint: str) -> None:
    if not re.fullmatch(r"[0-9A-Za-z_-]+", fingerprint):  # it becomes a folder's name
        where = f"{store.url}/artifacts/{stage}"
        raise UsageError(f"{fingerprint!r} is no fingerprint; expected letters and digits: a name in {where}")


def as_scores(scores: Mapping[str, Any]) -> dict[str, float]:
    """Plain floats, also from numpy's and torch's scalars."""
    return {name: float(value) for name, value in scores.items()}
