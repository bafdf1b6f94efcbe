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
from roomseg.runtime.manifest import Origin
from roomseg.runtime.model_source import open_model
from roomseg.runtime.storage import open_store
from roomseg.stages.networks import card_of
from tests.data.rooms import small_room

CONFIG = override(demo(), ['evaluate.ablations=["no_skip","ce_only"]'])


def trained(root: Path, stage: str, mark: str, section: Section) -> None:
    """A complete artifact; each is newer than the one before."""
    store, scratch = open_store(str(root / "store")), root / "scratch"
    scratch.mkdir(exist_ok=True)
    values = section.model_dump(mode="json")
    origin = Origin(stage=stage, fingerprint=mark, code_version="", config=values, parents={})
    writer = StoreArtifactWriter(store, origin, AttemptClock(store, origin.folder), scratch)
    save_file(build_network("T", 30).state_dict(), scratch / "weights")
    writer.add("model.safetensors", scratch / "weights")
    (scratch / "card").write_text(json.dumps(asdict(card_of("T", True, small_room(0, truncation_voxels=5)))))
    writer.add("model.json", scratch / "card")
    writer.finish({})


@pytest.mark.parametrize("spec", ["distill", ""])
def test_an_ablation_is_not_taken_for_the_student(spec: str, tmp_path: Path) -> None:
    store, ablations = str(tmp_path / "store"), comparisons(CONFIG)
    trained(tmp_path, "pretrain", "skipless", ablations[NO_SKIP])
    assert open_model("pretrain", store, "").where == f"pretrain skipless of {store}"  # there is nothing else
    trained(tmp_path, "pretrain", "pretrained", CONFIG.pretrain)
    trained(tmp_path, "distill", "older", CONFIG.distill)
    trained(tmp_path, "distill", "student", CONFIG.distill)
    trained(tmp_path, "distill", "alone", ablations[CE_ONLY])
    assert open_model(spec, store, "").where == f"distill student of {store}"
    assert open_model("pretrain", store, "").where == f"pretrain pretrained of {store}"
