"""What a journal makes of a store that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from roomseg.errors import UserError
from roomseg.runtime.storage import DirectoryStore, MissingKey
from roomseg.runtime.tracking import Journal
from roomseg.runtime.tracking.journal import Figure

FIGURES = [Figure("loss", 0.5, 1, 7)]


class FailingStore(DirectoryStore):
    """It lists, but gives nothing."""

    fault: Exception

    def get_bytes(self, key: str) -> bytes:
        raise self.fault


def test_figures_that_the_store_does_not_give_are_not_taken_for_none(tmp_path: Path) -> None:
    """Else they were deleted, as sent, at the run's end."""
    Journal(DirectoryStore(tmp_path), "a").keep(FIGURES)
    store = FailingStore(tmp_path)
    store.fault = UserError("the store does not answer")
    with pytest.raises(UserError, match="does not answer"):
        Journal(store, "a").read()
    store.fault = MissingKey("removed by another process since it was listed")
    assert Journal(store, "a").read() == []


@pytest.mark.parametrize("text", [b"", b"[[1]]", b"{}", b"\xff", b'[["loss", "x", 1, 2]]', b"3"])
def test_damaged_figures_are_passed_over(text: bytes, tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    Journal(store, "a").keep(FIGURES)
    store.put_bytes("a/figures/damaged.json", text)
    assert Journal(store, "a").read() == FIGURES
