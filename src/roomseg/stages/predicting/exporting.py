"""A network for others: as safetensors with its description, and as TorchScript that needs torch alone."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from roomseg.errors import UserError
from roomseg.models.portable_student import portable_student
from roomseg.models.student import Student
from roomseg.models.volumes import EMPTY
from roomseg.stages.predicting.models import CARD, WEIGHTS, LoadedModel, load_model, save_model

TRIED = ((64, 64, 64), (72, 60, 96))  # volumes that both are asked about: of full windows, and of any size
TOLERANCE = 1e-4  # of logits


def export_model(model: LoadedModel, folder: Path, script_name: str | None) -> dict[str, str]:
    """Write the files; returns how each was found equal. Raises ``UserError`` for a network that has no TorchScript."""
    if script_name is not None and not isinstance(model.network, Student):
        raise UserError(f"TorchScript is written of students only, got {model.card.network}: give --no-torchscript")
    save_model(model, folder)
    again = load_model(folder).network.state_dict()
    same = all(torch.equal(tensor, again[name]) for name, tensor in model.network.state_dict().items())
    assert same, "safetensors gave other weights back"
    found = {WEIGHTS: f"the same {sum(t.numel() for t in again.values()):,} values", CARD: "its description"}
    if script_name is not None:
        assert isinstance(model.network, Student)
        found[script_name] = f"logits within {_write_script(model.network, folder / script_name):.1e}, any size"
    return found


def _write_script(student: Student, path: Path) -> float:
    """The largest difference of a logit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch would have its users take torch.export
        torch.jit.save(portable_student(student), path)
        script = torch.jit.load(path)
    worst = max(_difference(student, script, shape) for shape in TRIED)
    if worst > TOLERANCE:
        path.unlink()
        raise UserError(f"the TorchScript gives logits that differ by {worst:.2g}, expected {TOLERANCE:g} at most")
    return worst


def _difference(student: Student, script: torch.nn.Module, shape: tuple[int, int, int]) -> float:
    """On a random volume, half of it empty."""
    generator = torch.Generator().manual_seed(sum(shape))
    volume = torch.rand((1, 4, *shape), generator=generator) * 2 - 1
    empty = torch.rand(shape, generator=generator) < 0.5
    volume = torch.where(empty, torch.tensor(EMPTY).view(1, 4, 1, 1, 1), volume)
    device = next(student.parameters()).device
    with torch.inference_mode():
        return float((student(volume.to(device)).cpu() - script(volume)).abs().max())
