"""A *store* is a directory or ``s3://bucket/prefix`` (``s3.py``); the same calls serve both.

Keys are relative POSIX paths. An object appears whole or not at all, and it is durable when a ``put`` returns. Of
several conditional writes that meet, one wins.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from roomseg.errors import UsageError, UserError

_HALF = ".half-"  # names of files that are being written; a killed process may leave some
_LOCK = ".lock"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class MissingKey(UserError):
    """The store answers, but has no such object."""


@dataclass(frozen=True)
class StoredObject:
    key: str
    size: int  # bytes
    age_s: float  # since it was written, by the store's clock


class Store(Protocol):
    url: str

    def put_bytes(self, key: str, data: bytes) -> None: ...

    def put_file(self, key: str, path: Path) -> None: ...

    def put_if_absent(self, key: str, data: bytes) -> str | None:
        """The version that was written; None if there is such an object already."""
        ...

    def replace(self, key: str, data: bytes, version: str) -> str | None:
        """The version that was written; None, and nothing is changed, if the object is not ``version`` any more."""
        ...

    def get_bytes(self, key: str) -> bytes:
        """Raises ``MissingKey``."""
        ...

    def get_versioned(self, key: str) -> tuple[bytes, str]:
        """The content and its version; raises ``MissingKey``."""
        ...

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """At most ``length`` bytes, fewer at the object's end; raises ``MissingKey``."""
        ...

    def fetch(self, key: str, destination: Path) -> None:
        """Copy an object to a local file, which appears whole; raises ``MissingKey``."""
        ...

    def local_path(self, key: str) -> Path | None:
        """Where the object lies if the store is a directory of this machine; nothing is checked."""
        ...

    def exists(self, key: str) -> bool: ...

    def folders(self, prefix: str) -> list[str]:
        """Names directly under ``prefix``, which ends with ``/``, that have keys under them, sorted."""
        ...

    def age_s(self, key: str) -> float:
        """Seconds since the object was written, by the store's clock; raises ``MissingKey``."""
        ...

    def list(self, prefix: str) -> list[str]:
        """All keys that start with a prefix, sorted. Slow on S3: not for hot paths."""
        ...

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        """All objects whose keys start with a prefix, in no order."""
        ...

    def unfinished(self) -> Iterator[StoredObject]:
        """What killed writers left: half-written files, uploads that were not completed. Only for ``discard``."""
        ...

    def discard(self, unfinished: StoredObject) -> None: ...

    def delete(self, key: str) -> None:
        """A key that is not there is no error."""
        ...


def open_store(url: str) -> Store:
    """The store behind a directory or ``s3://bucket/prefix``; raises ``UsageError``."""
    bucket, prefix = split_store_url(url)
    if not bucket:
        return DirectoryStore(Path(prefix))
    from roomseg.runtime.s3 import S3Store  # which needs this module, and is not needed for a directory

    return S3Store(bucket, prefix.strip("/"))


def split_store_url(url: str) -> tuple[str, str]:
    """Bucket and prefix; of a directory "" and its path. Raises ``UsageError`` for what is neither."""
    if not url:
        raise UsageError("--store is empty: expected a directory or s3://bucket/prefix")
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "", url
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise UsageError(f"--store {url}: expected a directory or s3://bucket/prefix")
    return bucket, prefix


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class DirectoryStore:
    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self.url = str(self.root)

    def put_bytes(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with local_errors("write", path), whole_file(path) as file:
            file.write(data)

    def put_file(self, key: str, path: Path) -> None:
        target = self._path(key)
        with local_errors("write", target), path.open("rb") as source, whole_file(target) as file:
            shutil.copyfileobj(source, file, 1 << 20)

    def put_if_absent(self, key: str, data: bytes) -> str | None:
        path = self._path(key)
        try:
            with local_errors("write", path), whole_file(path, overwrite=False) as file:
                file.write(data)
        except _Exists:
            return None
        return _version(data)

    def replace(self, key: str, data: bytes, version: str) -> str | None:
        path = self._path(key)
        with local_errors("write", path), self._locked():
            if not path.is_file() or _version(path.read_bytes()) != version:
                return None
            with whole_file(path) as file:
                file.write(data)
        return _version(data)

    def get_bytes(self, key: str) -> bytes:
        path = self._path(key)
        with local_errors("read", path):
            return path.read_bytes()

    def get_versioned(self, key: str) -> tuple[bytes, str]:
        data = self.get_bytes(key)
        return data, _version(data)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        path = self._path(key)
        with local_errors("read", path), path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    def fetch(self, key: str, destination: Path) -> None:
        source = self._path(key)
        with (
            local_errors("read", source),
            source.open("rb") as opened,
            local_errors("write", destination),
            whole_file(destination) as file,
        ):
            shutil.copyfileobj(opened, file, 1 << 20)

    def local_path(self, key: str) -> Path | None:
        return self._path(key)

    def exists(self, key: str) -> bool:
        path = self._path(key)
        with local_errors("read", path):
            return path.is_file()

    def folders(self, prefix: str) -> list[str]:
        folder = self._path(prefix)
        with local_errors("list", folder):
            return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()) if folder.is_dir() else []

    def age_s(self, key: str) -> float:
        path = self._path(key)
        with local_errors("read", path):
            return self._now() - path.stat().st_mtime

    def list(self, prefix: str) -> list[str]:
        files = (path for path in self._files(prefix) if not path.name.startswith((_HALF, _LOCK)))
        keys = (path.relative_to(self.root).as_posix() for path in files)
        return sorted(key for key in keys if key.startswith(prefix))

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        now = self._now()
        for key in self.list(prefix):
            with suppress(FileNotFoundError):  # removed since it was listed
                stat = self._path(key).stat()
                yield StoredObject(key, stat.st_size, now - stat.st_mtime)

    def unfinished(self) -> Iterator[StoredObject]:
        now = self._now()
        for path in self._files(""):
            if path.name.startswith(_HALF):
                with suppress(FileNotFoundError):
                    stat = path.stat()
                    yield StoredObject(path.relative_to(self.root).as_posix(), stat.st_size, now - stat.st_mtime)

    def discard(self, unfinished: StoredObject) -> None:
        self.delete(unfinished.key)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with local_errors("delete", path):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # the folder goes with its last file, and stays while there are others
            path.parent.rmdir()

    def _files(self, prefix: str) -> Sequence[Path]:
        folder = self._path(prefix.rpartition("/")[0])
        with local_errors("list", folder):
            return [Path(where) / name for where, _, names in os.walk(folder) for name in names]

    def _now(self) -> float:
        """By the clock of the file system, which may be a server's."""
        stamp = self.root / f"{_HALF}{uuid.uuid4().hex[:12]}"
        with local_errors("write", stamp):
            stamp.parent.mkdir(parents=True, exist_ok=True)
            stamp.touch()
            try:
                return stamp.stat().st_mtime
            finally:
                stamp.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.root / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _path(self, key: str) -> Path:
        leaves = key.startswith("/") or ".." in key.split("/")
        assert not leaves, f"key {key!r} leaves the store"
        return self.root / key


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class _Exists(Exception):
    pass


@contextmanager
def whole_file(path: Path, overwrite: bool = True) -> Iterator[BinaryIO]:
    """Write under another name, then rename: nobody sees half a file, not even after a power cut.

    Raises ``_Exists`` where there is such a file that is not to be overwritten.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{_HALF}{uuid.uuid4().hex[:12]}")
    try:
        with half.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            half.replace(path)
        else:
            _link(half, path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _link(half: Path, path: Path) -> None:
    """Unlike a rename, a link fails where there is such a name, and of two at the same time one fails."""
    try:
        os.link(half, path)
    except FileExistsError:
        raise _Exists from None
    half.unlink()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def local_errors(action: str, path: Path, option: str = "--store") -> Iterator[None]:
    """The system's refusals as ``UserError``; ``action`` is read, write, list or delete, ``option`` named the path."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingKey(_missing_message(action, Path(error.filename or path))) from error
    except OSError as error:
        raise UserError(_local_message(action, path, error, option)) from error


def is_disk_full(error: UserError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL


def _missing_message(action: str, path: Path) -> str:
    """What is to be written need not be there; its folder must."""
    if action == "write" and not path.parent.exists():
        return f"cannot write {path}: the folder {path.parent} is not there; make it, or choose another"
    return f"{path} is not there"


def _local_message(action: str, path: Path, error: OSError, option: str) -> str:
    if error.errno in _FULL:
        return f"disk full at {path.parent}: free space or choose another {option}"
    if isinstance(error, PermissionError):
        return f"no right to {action} {path}: change its owner or mode, or choose another {option}"
    if isinstance(error, NotADirectoryError | FileExistsError):
        return f"cannot {action} {path}: a part of the path is a file, expected a directory; choose another {option}"
    return f"cannot {action} {path}: {error.strerror or error}"
