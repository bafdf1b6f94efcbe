"""Files of weights that are small and would fill the memory: they are refused before that."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib import format as npy
from safetensors.torch import save_file

from roomseg.errors import UserError
from roomseg.models.weight_files import load_torch, read_weights

BOMB = 400 << 20  # bytes that a careless reader would take
MOST = 100 << 20


def write_zeros(archive: zipfile.ZipFile, name: str, header: dict[str, Any] | None = None) -> None:
    """A member of ``BOMB`` packed bytes."""
    with archive.open(name, "w") as member:
        if header is not None:
            npy.write_array_header_1_0(member, header)
        for _ in range(BOMB >> 20):
            member.write(bytes(1 << 20))


def packed(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)


def npz_bomb(path: Path, array: str) -> None:
    with packed(path) as archive:
        archive.writestr("embedding/bias.npy", b"")
        write_zeros(archive, f"{array}.npy", {"descr": "|u1", "fortran_order": False, "shape": (BOMB,)})


def repacked(source: Path, target: Path, change: Callable[[zipfile.ZipFile, str, bytes], None]) -> None:
    with zipfile.ZipFile(source) as old, packed(target) as new:
        for name in old.namelist():
            change(new, name, old.read(name))


def memory_of(work: Callable[[], object]) -> int:
    """Bytes that the process had at most, beyond those that it had before."""
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    with pytest.raises(UserError) as caught:
        work()
    assert "\n" not in str(caught.value)
    return peak() - before


def peak() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def test_the_memory_is_measured() -> None:
    def takes() -> None:
        np.ones(200 << 20, np.uint8)
        raise UserError("done")

    assert memory_of(takes) > 150 << 20


@pytest.mark.parametrize("array", ["optimizer/moment", "Transformer/encoderblock_0/more"])
def test_packed_arrays(array: str, tmp_path: Path) -> None:
    """Those that nobody asks for are not read, and the others not beyond the size of the file."""
    path = tmp_path / "vit.npz"
    npz_bomb(path, array)
    assert path.stat().st_size < 5 << 20
    assert memory_of(lambda: read_weights(path)) < MOST


def test_packed_records(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.pth", tmp_path / "bad.pth"
    torch.save({"w": torch.ones(3)}, good)

    def swell(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
        if name.endswith("data/0"):
            write_zeros(archive, name)
        else:
            archive.writestr(name, content)

    repacked(good, bad, swell)
    assert bad.stat().st_size < 5 << 20
    assert memory_of(lambda: read_weights(bad)) < MOST


class ByteArray:
    """What weights_only lets a pickle call."""

    def __reduce__(self) -> tuple[Any, ...]:
        return bytearray, (BOMB,)


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_a_call_that_fills_memory(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "bytes.pth"
    torch.save({"w": ByteArray()}, path, _use_new_zipfile_serialization=kind == "zip")
    assert len(torch.load(path, weights_only=True)["w"]) == BOMB, "torch itself would fill it"
    with pytest.raises(UserError, match="bytearray"):
        load_torch(path)


def test_a_view_that_is_larger_than_its_file(tmp_path: Path) -> None:
    path = tmp_path / "view.pth"
    torch.save({"pos_embed": torch.ones(1).expand(1, 1 << 40, 8)}, path)
    with pytest.raises(UserError, match="pos_embed"):
        read_weights(path)


def test_old_files_and_shared_tensors_are_read(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    state = {"model": {"a": shared, "b": shared.view(2, 3).T}, "epoch": 3}
    for zipped in (True, False):
        torch.save(state, tmp_path / "good.pth", _use_new_zipfile_serialization=zipped)
        assert torch.equal(read_weights(tmp_path / "good.pth")["b"], shared.view(2, 3).T)


@pytest.mark.parametrize("before", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_what_wrappers_put_before_the_names_is_left_out(before: str, tmp_path: Path) -> None:
    state = {f"{before}encoder.module.weight": torch.ones(2)}
    torch.save({"state_dict": state}, tmp_path / "good.pth")
    save_file(state, tmp_path / "good.safetensors")
    for name in ("good.pth", "good.safetensors"):
        assert list(read_weights(tmp_path / name)) == ["encoder.module.weight"]


def test_names_that_are_none_are_refused(tmp_path: Path) -> None:
    torch.save({3: torch.ones(2)}, tmp_path / "numbers.pth")
    with pytest.raises(UserError, match=r"numbers\.pth holds no state dict"):
        read_weights(tmp_path / "numbers.pth")
