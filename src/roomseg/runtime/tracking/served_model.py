"""A registered model as MLflow serves it; ``registry.save_pyfunc`` names this module in the model's ``MLmodel``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from roomseg.models.student import build_student


class ServedModel:
    def __init__(self, model_dir: Path) -> None:
        description = json.loads((model_dir / "model.json").read_text())
        self._student = build_student(
            description["variant"], classes=len(description["classes"]), skip=description["skip"]
        )
        self._student.load_state_dict(load_file(model_dir / "model.safetensors"))
        self._student.eval()

    @torch.inference_mode()
    def predict(self, model_input: np.ndarray) -> np.ndarray:
        """(4, X, Y, Z) float32, as ``data.rooms.network_input`` gives it, to labels (X, Y, Z) uint8."""
        volume = torch.from_numpy(np.ascontiguousarray(model_input, dtype=np.float32))[None]  # (1, 4, X, Y, Z)
        return self._student.predict(volume).to(torch.uint8).reshape(model_input.shape[1:]).numpy()


def _load_pyfunc(path: str) -> ServedModel:
    """The name that MLflow looks for."""
    return ServedModel(Path(path))
