"""Reading weights of vision transformers from files. Nothing that is read here can run code.

``.safetensors`` and ``.pth`` are state dicts, ``.npz`` is the Flax format of "How to train your ViT?" (Steiner et
al., 2021), ``variant.yml`` lies beside the checkpoints of github.com/rstrudel/segmenter. Errors are ``UserError``.
"""

from __future__ import annotations

import pickle
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from roomseg.errors import UserError

MAX_VARIANT_BYTES = 16_384  # YAML of brackets alone takes minutes to read
_NO_NPZ = (
    OSError,
    ValueError,
    OverflowError,
    MemoryError,
    EOFError,
    SyntaxError,
    tokenize.TokenError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    AttributeError,
)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name; of a training's ``.pth`` those under "model" or "state_dict" alone."""
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is no readable safetensors file: {_one_line(error)}") from None
    if path.suffix == ".npz":
        return _from_flax(_read_npz(path), path)
    return _read_torch(path)


def read_variant(path: Path) -> dict[str, Any]:
    """``net_kwargs`` of a variant file: what Segmenter built its network from."""
    try:
        if path.stat().st_size > MAX_VARIANT_BYTES:
            raise ValueError(f"it has {path.stat().st_size} bytes; expected at most {MAX_VARIANT_BYTES}")
        variant = _VariantLoader(path.read_text(encoding="utf-8")).get_single_data()
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is no variant file of Segmenter: {_one_line(error)}") from None
    net = variant.get("net_kwargs") if isinstance(variant, dict) else None
    if not isinstance(net, dict):
        raise UserError(f"{path} is no variant file of Segmenter: expected a mapping net_kwargs")
    return net


class _VariantLoader(yaml.SafeLoader):
    """Safe, and takes the one Python tag that Segmenter writes."""


def _sequence(loader: _VariantLoader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node)


_VariantLoader.add_constructor("tag:yaml.org,2002:python/tuple", _sequence)


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = "holds pickled objects" if zipfile.is_zipfile(path) else "is no checkpoint of torch.save"
        raise UserError(f"{path} {what}; expected tensors and plain values only ({_one_line(error)})") from None
    except Exception as error:  # of many kinds: torch has no list of them
        raise UserError(f"{path} is no checkpoint of torch.save: {_one_line(error)}") from None
    for name in ("model", "state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise UserError(f"{path} holds no state dict; expected names and tensors, plainly or under 'model'")
    return dict(loaded)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except _NO_NPZ as error:
        raise UserError(f"{path} is no npz file of arrays: {_one_line(error)}") from None


def _from_flax(arrays: Mapping[str, np.ndarray], path: Path) -> dict[str, Tensor]:
    """Under timm's names. Flax has kernels as (in, out), convolutions as (h, w, in, out), and heads apart:
    query, key and value are (d, heads, d / heads), out is (heads, d / heads, d).
    """
    try:
        pairs = {name: np.ascontiguousarray(value, np.float32) for name, value in _timm_pairs(arrays)}
    except KeyError as error:
        raise UserError(f"{path} is no augreg ViT: expected an array {error.args[0]}") from None
    except (ValueError, AttributeError, IndexError) as error:
        raise UserError(f"{path} is no augreg ViT: {_one_line(error)}") from None
    return {name: torch.from_numpy(value) for name, value in pairs.items()}


def _timm_pairs(arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    yield "patch_embed.proj.weight", arrays["embedding/kernel"].transpose(3, 2, 0, 1)
    yield "patch_embed.proj.bias", arrays["embedding/bias"]
    yield "cls_token", arrays["cls"]
    yield "pos_embed", arrays["Transformer/posembed_input/pos_embedding"]
    yield from _norm_pairs("norm", arrays, "Transformer/encoder_norm")
    layers = {name.split("/")[1] for name in arrays if name.startswith("Transformer/encoderblock_")}
    for n in range(len(layers)):
        source, target = f"Transformer/encoderblock_{n}", f"blocks.{n}"
        yield from _norm_pairs(f"{target}.norm1", arrays, f"{source}/LayerNorm_0")
        yield from _norm_pairs(f"{target}.norm2", arrays, f"{source}/LayerNorm_2")
        yield from _attention_pairs(f"{target}.attn", arrays, f"{source}/MultiHeadDotProductAttention_1")
        for k in (0, 1):
            yield f"{target}.mlp.fc{k + 1}.weight", arrays[f"{source}/MlpBlock_3/Dense_{k}/kernel"].T
            yield f"{target}.mlp.fc{k + 1}.bias", arrays[f"{source}/MlpBlock_3/Dense_{k}/bias"]


def _attention_pairs(target: str, arrays: Mapping[str, np.ndarray], source: str) -> Iterator[tuple[str, np.ndarray]]:
    width = len(arrays["embedding/bias"])
    qkv = [f"{source}/{part}" for part in ("query", "key", "value")]
    yield f"{target}.qkv.weight", np.concatenate([arrays[f"{part}/kernel"].reshape(width, width).T for part in qkv])
    yield f"{target}.qkv.bias", np.concatenate([arrays[f"{part}/bias"].reshape(width) for part in qkv])
    yield f"{target}.proj.weight", arrays[f"{source}/out/kernel"].reshape(width, width).T
    yield f"{target}.proj.bias", arrays[f"{source}/out/bias"]


def _norm_pairs(target: str, arrays: Mapping[str, np.ndarray], source: str) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{target}.weight", arrays[f"{source}/scale"]
    yield f"{target}.bias", arrays[f"{source}/bias"]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
