"""A registered model as MLflow serves it; ``registry.save_pyfunc`` names this module in the model's ``MLmodel``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from roomseg.models.networks import as_network, build_network
from roomseg.models.weights import load_weights


class ServedModel:
    def __init__(self, model_dir: Path) -> None:
        description = json.loads((model_dir / "model.json").read_text())
        self._model = build_network(description["network"], len(description["classes"]), skip=description["skip"])
        load_weights(self._model, load_file(model_dir / "model.safetensors"))
        self._model.eval()

    @torch.inference_mode()
    def predict(self, model_input: np.ndarray) -> np.ndarray:
        """(4, X, Y, Z) float32, as ``data.rooms.network_input`` gives it, to labels (X, Y, Z) uint8."""
        volume = torch.from_numpy(np.ascontiguousarray(model_input, dtype=np.float32))[None]  # (1, 4, X, Y, Z)
        return as_network(self._model).predict(volume).to(torch.uint8).reshape(model_input.shape[1:]).numpy()


def _load_pyfunc(path: str) -> ServedModel:
    """The name that MLflow looks for."""
    return ServedModel(Path(path))
