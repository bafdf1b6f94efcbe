"""Ids of label images -> class ids of a label set, as look-up tables over 16 bits.

ScanNet's own ids go to the 40 NYU classes by ``scannetv2-labels.combined.tsv`` of the release, and those to the 20
classes of the benchmark; all else is void.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from roomseg.config import LABEL_FILE
from roomseg.errors import UserError
from roomseg.labels import SCANNET20, VOID, LabelSet, label_set
from roomseg.scenes.scans.images import decode_ids
from roomseg.scenes.scans.label_file import read_label_file
from roomseg.scenes.scans.textfiles import read_text

# Of the benchmark, in its order: NYU id n at place i is class i + 1 of SCANNET20.
BENCHMARK_NYU40 = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39)
IGNORED = 255  # what label images commonly say for "not to be judged"
UNKNOWN = 255  # in the tables: an id that the set does not have


def nyu40_table() -> np.ndarray:  # (65536,) uint8
    """NYU id -> class of SCANNET20. The release has a few stray ids above 40: void too."""
    table = np.full(2**16, VOID, np.uint8)
    table[list(BENCHMARK_NYU40)] = np.arange(1, len(SCANNET20))
    return table


def scannet_table(path: Path) -> np.ndarray:  # (65536,) uint8
    """ScanNet id -> class of SCANNET20 by the columns ``id`` and ``nyu40id`` of the release's table.

    Raises ``UserError``, naming the line, for a file without them or with an id that is no number.
    """
    head, *lines = read_text(path).splitlines() or [""]
    columns = head.split("\t")
    if "id" not in columns or "nyu40id" not in columns:
        raise UserError(
            f"{path}: line 1 has no columns id and nyu40id; expected ScanNet's scannetv2-labels.combined.tsv"
        )
    id_at, nyu_at = columns.index("id"), columns.index("nyu40id")
    table, nyu40 = np.full(2**16, VOID, np.uint8), nyu40_table()
    for number, line in enumerate(lines, 2):
        cells = line.split("\t")
        if len(cells) <= max(id_at, nyu_at) or not cells[nyu_at].strip():
            continue
        try:
            scannet_id, nyu_id = int(cells[id_at]), int(cells[nyu_at])
            if min(scannet_id, nyu_id) < 0:
                raise ValueError
            table[scannet_id] = nyu40[nyu_id]
        except (ValueError, IndexError):
            raise UserError(
                f"{path}: line {number}: got id {cells[id_at]!r}, nyu40id {cells[nyu_at]!r}; expected ids"
            ) from None
    return table


def id_table(ids: str) -> tuple[np.ndarray, LabelSet]:  # (65536,) uint8
    """For label images that hold ids of a label set, of NYU's 40 classes, or those of a label file.

    Raises ``UserError`` that says what is wrong with the file.
    """
    if ids == "nyu40":
        return nyu40_table(), SCANNET20
    table = np.full(2**16, UNKNOWN, np.uint8)
    if ids.endswith(LABEL_FILE):
        labels, class_of_id = read_label_file(Path(ids).expanduser())
        table[list(class_of_id)] = list(class_of_id.values())
        return table, labels
    labels = label_set(ids)
    table[: len(labels)] = np.arange(len(labels))
    table[IGNORED] = VOID
    return table, labels


def read_classes(data: bytes, where: str, table: np.ndarray) -> np.ndarray:  # (H, W) uint8
    """The classes of a label picture; raises ``UserError`` for ids that the table does not know."""
    ids = decode_ids(data, where)
    classes = table[ids]
    if (classes == UNKNOWN).any():
        raise UserError(f"{where}: got id {ids[classes == UNKNOWN].max()}; expected ids of the label set or of void")
    return classes
