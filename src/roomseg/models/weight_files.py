"""Reading weights of vision transformers from files. Nothing that is read here can run code.

``.safetensors`` and ``.pth`` are state dicts, ``.npz`` is the Flax format of "How to train your ViT?" (Steiner et
al., 2021), ``variant.yml`` lies beside the checkpoints of github.com/rstrudel/segmenter. Errors are ``UserError``.
"""

from __future__ import annotations

import mmap
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from roomseg.errors import UserError, full_memory
from roomseg.npz import array_sizes, read_arrays

MAX_VARIANT_BYTES = 16_384  # YAML of brackets alone takes minutes to read
_OF_THE_ENCODER = ("embedding/", "cls", "Transformer/")  # names of Flax; a head or an optimizer is not read
_WRAPPED = r"^(module\.|_orig_mod\.)+"  # by DistributedDataParallel and torch.compile
_LARGEST_RATIO = 8  # of arrays to the file that they are packed in; weights do not pack well


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name, without what wrappers put before it; of a training's ``.pth`` "model" or "state_dict" alone."""
    return {re.sub(_WRAPPED, "", name): value for name, value in _read(path).items()}


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is no readable safetensors file: {_one_line(error)}") from None
    if path.suffix == ".npz":
        return _from_flax(_read_npz(path), path)
    return _state_dict(load_torch(path), path)


def load_torch(path: Path) -> Any:
    """What ``torch.save`` wrote, on the CPU, where it is tensors and plain values and no larger than its file.

    Raises ``UserError`` for another file, ``MemoryError`` where there is no room for this one.
    """
    try:
        _check_size(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        what = "holds pickled objects" if zipfile.is_zipfile(path) else "is no checkpoint of torch.save"
        raise UserError(f"{path} {what}; expected tensors and plain values only{_forbidden(error)}") from None
    except Exception as error:  # of many kinds: torch has no list of them
        if full_memory(error):  # which says nothing about the file
            raise MemoryError(f"{path} does not fit into memory") from error
        raise UserError(f"{path} is no checkpoint of torch.save: {_one_line(error)}") from None


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


def _check_size(path: Path) -> None:
    """Of a file that would take more memory than it has bytes: ``torch.save`` never packs, nor makes byte arrays."""
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":  # as torch tells it
            members = zipfile.ZipFile(file).infolist()
            packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
            if packed or sum(member.file_size for member in members) > path.stat().st_size:
                raise UserError(f"{path} is packed, or damaged; expected the bytes as torch.save stores them")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data.find(b"\nbytearray\n") >= 0:  # weights_only lets it be called, with a number, and that fills memory
                raise UserError(f"{path} holds pickled objects (bytearray); expected tensors and plain values only")


def _state_dict(loaded: Any, path: Path) -> dict[str, Tensor]:
    for name in ("model", "state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
    plain = isinstance(loaded, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in loaded.items()
    )
    if not plain:
        raise UserError(f"{path} holds no state dict; expected names and tensors, plainly or under 'model'")
    most = path.stat().st_size
    for name, value in loaded.items():
        if value.layout != torch.strided or value.is_meta or value.numel() * value.element_size() > most:
            raise UserError(f"{path} does not have all values of {name}: it is damaged, or no state dict; get it again")
    return dict(loaded)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    sizes = array_sizes(path)
    names = [name for name in sizes if name.startswith(_OF_THE_ENCODER)]
    total, most = sum(sizes[name] for name in names), _LARGEST_RATIO * path.stat().st_size
    if total > most:
        raise UserError(f"{path} would unpack to {total:,} bytes; expected at most {most:,}: get the file again")
    return dict(zip(names, read_arrays(path, names, most_values=most), strict=True))


def _from_flax(arrays: Mapping[str, np.ndarray], path: Path) -> dict[str, Tensor]:
    """Under timm's names. Flax has kernels as (in, out), convolutions as (h, w, in, out), and heads apart:
    query, key and value are (d, heads, d / heads), out is (heads, d / heads, d).
    """
    try:
        pairs = {name: np.array(value, np.float32, order="C") for name, value in _timm_pairs(arrays)}
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


def _forbidden(error: pickle.UnpicklingError) -> str:
    """What the file would have called. All that torch says is longer, and tells how to load the file nevertheless."""
    named = re.search(r"GLOBAL (\S+)", str(error))
    return f" (it holds a {named[1]})" if named else ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
