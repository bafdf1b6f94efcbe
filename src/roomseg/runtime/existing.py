"""A store that is there already, for commands that only look at it: a name that was mistyped is no empty store."""

from __future__ import annotations

from roomseg.errors import UserError
from roomseg.runtime.storage import Store, open_store

FOLDERS = ("artifacts", "cache", "checkpoints", "parts", "runs", "shards")  # a store has one of them, or more


def existing_store(url: str) -> Store:
    """The store behind a directory or ``s3://bucket/prefix``; raises ``UserError`` where none is."""
    store = open_store(url)
    if not set(FOLDERS) & set(store.folders("")):
        expected = f"expected {', '.join(FOLDERS[:-1])} or {FOLDERS[-1]} in it"
        raise UserError(f"{store.url} is no store: {expected}; look at the name, or run a stage with it first")
    return store
