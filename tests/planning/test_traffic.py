"""What the plan says of storage and requests: by hand, and (heavy) against a demo over S3 that a proxy counts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from roomseg.config import PipelineConfig, override
from roomseg.models.networks import build_network
from roomseg.models.teacher import build_teacher
from roomseg.planning.measured import BACKBONES, FORWARD_TFLOP, MICRO_PARAMETERS, NETWORKS, RENEWAL_S, SAVE_S
from roomseg.planning.sizes import rooms_gigabytes
from roomseg.planning.traffic import checkpoint_gigabytes, requests, stored_gigabytes
from roomseg.profiles import demo, paper
from roomseg.runtime import lease
from roomseg.runtime.finding import find_inputs
from roomseg.runtime.stage import STAGES, run_stage
from roomseg.runtime.storage import open_store
from roomseg.training import FitConfig
from tests.faults.proxy import FaultyProxy


def test_storage_by_hand() -> None:
    config = paper()
    assert stored_gigabytes("render", config, "T") == rooms_gigabytes(config.render)
    assert stored_gigabytes("teacher", config, "T") == pytest.approx(103_191_612 * 4 / 1e9)
    assert stored_gigabytes("pretrain", config, "T") == pytest.approx(375_036 * 4 / 1e9)
    assert stored_gigabytes("distill", config, "T") == pytest.approx((2 * 375_036 * 4 + 5325 * 4 * 59e3) / 1e9)
    assert stored_gigabytes("register", config, "T") == 0
    views = override(config, ["render.panoramas_per_room=3", "distill.views=2"])
    assert stored_gigabytes("distill", views, "T") == pytest.approx((2 * 375_036 * 4 + 2 * 5325 * 4 * 59e3) / 1e9)
    unknown = override(config, ["teacher.backbone=vit_base_patch14_dinov2"])
    assert stored_gigabytes("teacher", unknown, "T") is None


def test_checkpoints_by_hand() -> None:
    assert checkpoint_gigabytes("teacher", paper(), "T") == pytest.approx(2 * 3 * 103_191_612 * 4 / 1e9)  # SGD
    assert checkpoint_gigabytes("pretrain", paper(), "unet3d") == pytest.approx(2 * 4 * 16_323_174 * 4 / 1e9)  # Adam


def test_requests_by_hand() -> None:
    start, shards = 26 + 3 * 2, 7 + 1  # of 28 rooms to train on and 4 to validate, 4 a shard, below 8 MB
    saves = 120 / 30 + 6 / 2  # six validations in 120 s
    assert requests("pretrain", demo(), "T", 120 / 3600, 1) == start + 2 * (shards + 1) + 120 / 15 + saves * 5
    often = override(demo(), ["pretrain.epochs=12"])
    assert requests("pretrain", often, "T", 120 / 3600, 1) == start + 2 * (shards + 1) + 120 / 15 + 12 * 5
    large = override(demo(), ["pretrain.network=L"])  # checkpoints of 71 MB: 9 parts, and two requests about them
    assert requests("pretrain", large, "L", 120 / 3600, 1) == start + 2 * (shards + 1) + 120 / 15 + saves * (9 + 2 + 4)
    parts = requests("render", demo(), "T", 0.0, 4)
    assert parts == requests("render", demo(), "T", 0.0, 1) + 4 * 26


def test_constants_are_those_of_the_code() -> None:
    assert lease.TTL_S / lease._RENEWALS == RENEWAL_S
    assert FitConfig(steps=1, validate_every=1).checkpoint_seconds == SAVE_S


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_of_networks(name: str) -> None:
    assert _parameters(build_network(name, 30)) == NETWORKS[name].parameters  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["micro", *BACKBONES])
def test_parameters_of_backbones(name: str) -> None:
    with torch.device("meta"):
        model = build_teacher(name, 30, "mask", image_size=(512, 1024))
    wanted = MICRO_PARAMETERS if name == "micro" else BACKBONES[name].parameters
    assert _parameters(model) == wanted


def test_arithmetic_of_the_unet() -> None:
    model = build_network("unet3d", 30).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 4, 16, 16, 16))
    assert counter.get_total_flops() * 8**3 / 1e12 == pytest.approx(FORWARD_TFLOP["unet3d"], rel=0.01)


def _parameters(model: torch.nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


@pytest.mark.heavy
@pytest.mark.timeout(7200)
def test_the_demo_over_s3(s3_store: str, s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stage with an empty cache, as in a pod."""
    proxy = FaultyProxy(s3_server, seed=0, share=0.0, limit=0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    config, stored = demo(), 0
    for stage in STAGES:
        monkeypatch.setenv("ROOMSEG_CACHE_DIR", str(tmp_path / stage))
        before = proxy.requests
        seconds = _run(stage, config, s3_store, tmp_path)
        asked = proxy.requests - before
        now = sum(found.size for found in open_store(s3_store).objects(""))
        made, stored = (now - stored) / 1e9, now
        count, gigabytes = requests(stage, config, "T", seconds / 3600, 1), stored_gigabytes(stage, config, "T")
        print(f"{stage}: {seconds:.0f} s, {asked} requests, {count} planned, {made:.4f} GB, {gigabytes:.4f} planned")
        assert count == pytest.approx(asked, rel=0.2, abs=12)
        assert gigabytes == pytest.approx(made, rel=0.2, abs=0.002)  # the last weights may be the best: one file


def _run(stage: str, config: PipelineConfig, store: str, folder: Path) -> float:
    """Its seconds."""
    where = {"store": store, "run_id": "run", "tracking_uri": f"sqlite:///{folder / 'mlflow.db'}"}
    return run_stage(stage, config.section(stage), inputs=find_inputs(stage, config, store), **where).seconds
