"""Files that a command is told to write: looked at before the work, not after it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from roomseg.errors import UserError


def check_file(path: Path, option: str) -> None:
    """Raises ``UserError`` for a file that cannot be written; leaves nothing behind."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UserError(f"{option} {path}: the folder {folder} is not there; make it, or choose another")
    if path.is_dir():
        raise UserError(f"{option} {path} is a folder; name a file")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{option} {path}: cannot write there ({error.strerror}); choose another folder") from None
