"""The whole pipeline on 3D-FRONT houses, with a baseline and ablations beside, and on the published release."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.data.releases import HOUSES, save_release
from tests.e2e.test_local_pipeline import ROOT, command, manifests
from tests.scenes.front3d.houses import write_front3d

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1800)]
ROWS = {
    "baseline sparse_unet": "sparse_unet",
    "student without skip": "no_skip",
    "cross entropy alone": "ce_only",
    "student after distillation": "distilled",
}


def run(store: Path, *settings: str) -> str:
    words = command(store, *(part for setting in settings for part in ("--set", setting)))
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_houses_of_3d_front_with_a_baseline_and_ablations(tmp_path: Path) -> None:
    write_front3d(tmp_path / "front3d", 5)
    where = f"render.front3d_root={tmp_path / 'front3d'}"
    compared = ('evaluate.baselines=["sparse_unet"]', 'evaluate.ablations=["no_skip","ce_only"]')
    said = run(tmp_path / "store", "render.source=front3d", where, *compared)
    scores = manifests_of(tmp_path / "store", "evaluate")["scores"]
    for name, prefix in ROWS.items():
        (line,) = (line for line in said.splitlines() if line.startswith(f"│ {name} "))
        assert f"{scores[f'{prefix}_miou']:.1%}" in line
    report = Path(re.search(r"^report\s+(\S+)$", said, re.M)[1]).read_text()
    for name in ("baseline sparse_unet", "student without skip", "cross entropy alone"):
        assert f"<td>{name}</td>" in report
    for name in ("student without skip", "cross entropy alone"):
        assert f"<th>{name}</th>" in report  # beside the student with it
    assert "3D-FRONT" in report


def test_the_published_release_whose_test_rooms_have_no_panoramas(tmp_path: Path) -> None:
    release = save_release(tmp_path / "release")
    (release / f"panoramas/images/training/{HOUSES[0]}_12.jpg").unlink()
    said = run(tmp_path / "store", "render.source=panorooms3d", f"render.panorooms3d_root={release}")
    assert "student after distillation" in said
    assert "2D teacher, on panoramas" not in said
    assert manifests(tmp_path / "store")["render"]["scores"]["rooms"] == 5
    assert manifests(tmp_path / "store")["distill"]["scores"]["rooms_left_out"] == 1


def manifests_of(store: Path, stage: str) -> dict:
    """Of a stage that ran once; ``pretrain`` and ``distill`` ran for what is compared too."""
    (path,) = store.glob(f"artifacts/{stage}/*/manifest.json")
    return json.loads(path.read_text())
