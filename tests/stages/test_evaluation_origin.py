"""What the evaluation's report says of where its inputs come from."""

from __future__ import annotations

from pathlib import Path

from roomseg.runtime.artifacts import StoreArtifactReader
from roomseg.runtime.storage import open_store
from roomseg.stages.evaluate import origin_facts
from tests.commands.test_data import render
from tests.data.rooms import small_room


def test_each_input_has_its_digest_and_the_code_that_made_it(tmp_path: Path) -> None:
    made = render(str(tmp_path), tmp_path / "scratch", small_room(0, shape=(12, 11, 10)))
    store = open_store(str(tmp_path))
    versions = {"rooms": "0.1.0+aaaabbbbcccc", "teacher": "0.1.0+ddddeeeeffff"}
    inputs = {
        name: StoreArtifactReader(store, made.model_copy(update={"code_version": version}), tmp_path)
        for name, version in versions.items()
    }
    assert origin_facts(inputs) == [
        ("digest of rooms", made.digest[:16]),
        ("digest of teacher", made.digest[:16]),
        ("code that made rooms", "0.1.0+aaaabbbbcccc"),
        ("code that made teacher", "0.1.0+ddddeeeeffff"),
    ]
