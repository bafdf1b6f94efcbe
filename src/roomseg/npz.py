"""Arrays of ``.npz`` archives that others have made: numbers only, and bounded before anything is allocated."""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from roomseg.errors import UserError, first_line

NUMBERS = "biuf"  # kinds of dtypes that are read: no Python objects, no records, no text
MAX_HEADER_BYTES = 10_000
_DAMAGED = (
    OSError,
    ValueError,
    OverflowError,
    MemoryError,  # of a header with thousands of brackets
    EOFError,
    SyntaxError,
    tokenize.TokenError,  # numpy takes headers of Python 2 apart with it
    RuntimeError,
    NotImplementedError,
    AttributeError,
    zipfile.BadZipFile,
    zlib.error,
)


def array_sizes(path: Path) -> dict[str, int]:
    """Bytes that each array has when it is unpacked, as the archive says; nothing is unpacked. Raises ``UserError``."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except _DAMAGED as error:
        raise UserError(f"{path} is no npz file of arrays: {first_line(error)[:200]}") from None
    return {member.filename.removesuffix(".npy"): member.file_size for member in members}


def read_arrays(source: Path | bytes, names: Sequence[str], most_values: int) -> list[np.ndarray]:
    """The arrays of these names, in this order; each may have ``most_values`` values at most.

    ``source`` is the file, or its content. Raises ``UserError`` that names the file and the array for an archive that
    is damaged or has not all of them, and for an array of anything but numbers, of another size than its header says,
    or too large.
    """
    path = "the .npz" if isinstance(source, bytes) else str(source)
    where = path
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            present = set(archive.namelist())
            missing = [name for name in names if f"{name}.npy" not in present]
            if missing:
                raise UserError(f"{path} has no {' and no '.join(missing)}; expected {', '.join(names)}: get it again")
            arrays = []
            for name in names:
                where = f"{path}: {name}"
                arrays.append(_read_array(archive, archive.getinfo(f"{name}.npy"), where, most_values))
            return arrays
    except UserError:
        raise
    except _DAMAGED as error:
        raise UserError(f"{where}: damaged ({first_line(error)[:200]}); expected a whole .npz: get it again") from None


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str, most_values: int) -> np.ndarray:
    with archive.open(member) as file:
        shape, fortran_order, dtype = _header(file, where)
        if dtype.kind not in NUMBERS:
            what = "Python objects" if dtype.hasobject else f"{dtype} values"
            raise UserError(f"{where}: holds {what}; expected numbers: objects are never unpickled")
        n = math.prod(shape)
        if n > most_values or min(shape, default=0) < 0:
            size = " x ".join(map(str, shape))
            raise UserError(f"{where}: its header says {size} values; expected at most {most_values:,}")
        n_bytes = n * dtype.itemsize
        data = file.read(n_bytes + 1)  # one more, so that the archive's checksum is compared at the end
        if len(data) != n_bytes:
            got = f"more than {n_bytes}" if len(data) > n_bytes else len(data)
            raise UserError(f"{where}: has {got} bytes of values, its header says {n_bytes}: get the file again")
    array = np.frombuffer(data, dtype)
    return array.reshape(shape[::-1]).T if fortran_order else array.reshape(shape)


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file, max_header_size=MAX_HEADER_BYTES)
    if version == (2, 0):
        return npy.read_array_header_2_0(file, max_header_size=MAX_HEADER_BYTES)
    raise UserError(f"{where}: is an array file of version {version}; expected 1.0 or 2.0: save it again with numpy")
