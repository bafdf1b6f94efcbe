"""Which network of a store is meant where none is named."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from safetensors.torch import save_file

from roomseg.comparisons import CE_ONLY, NO_SKIP, comparisons
from roomseg.config import Section, override
from roomseg.models.networks import build_network
from roomseg.profiles import demo
from roomseg.runtime.artifacts import AttemptClock, StoreArtifactWriter
from roomseg.runtime.manifest import Origin, manifest_key
from roomseg.runtime.model_source import open_model
from roomseg.runtime.storage import open_store
from roomseg.stages.networks import card_of
from tests.data.rooms import small_room

CONFIG = override(demo(), ['evaluate.ablations=["no_skip","ce_only"]'])


def trained(root: Path, stage: str, mark: str, section: Section, minute: int) -> None:
    """A complete artifact that was made in this minute."""
    store, scratch = open_store(str(root / "store")), root / "scratch"
    scratch.mkdir(exist_ok=True)
    values = section.model_dump(mode="json")
    origin = Origin(stage=stage, fingerprint=mark, code_version="", config=values, parents={})
    writer = StoreArtifactWriter(store, origin, AttemptClock(store, origin.folder), scratch)
    save_file(build_network("T", 30).state_dict(), scratch / "weights")
    writer.add("model.safetensors", scratch / "weights")
    (scratch / "card").write_text(json.dumps(asdict(card_of("T", True, small_room(0, truncation_voxels=5)))))
    writer.add("model.json", scratch / "card")
    made = writer.finish({}).model_copy(update={"created": f"2026-01-01T00:{minute:02}:00+00:00"})
    store.put_bytes(manifest_key(stage, mark), made.to_json().encode())


@pytest.mark.parametrize("spec", ["distill", ""])
def test_an_ablation_is_not_taken_for_the_student(spec: str, tmp_path: Path) -> None:
    store, ablations = str(tmp_path / "store"), comparisons(CONFIG)
    trained(tmp_path, "pretrain", "skipless", ablations[NO_SKIP], 9)
    assert open_model("pretrain", store, "").where == f"pretrain skipless of {store}"  # there is nothing else
    trained(tmp_path, "pretrain", "pretrained", CONFIG.pretrain, 1)
    trained(tmp_path, "distill", "older", CONFIG.distill, 2)
    trained(tmp_path, "distill", "student", CONFIG.distill, 3)
    trained(tmp_path, "distill", "alone", ablations[CE_ONLY], 4)
    assert open_model(spec, store, "").where == f"distill student of {store}"
    assert open_model("pretrain", store, "").where == f"pretrain pretrained of {store}"
