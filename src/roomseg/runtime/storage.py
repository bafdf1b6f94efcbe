"""A *store* is a directory or ``s3://bucket/prefix``; the same calls serve both. The only module that knows boto3.

Keys are relative POSIX paths. An object appears whole or not at all, and it is durable when a ``put`` returns.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from roomseg.errors import UsageError, UserError

_HALF = ".half-"  # names of files that are being written; a killed process may leave some


class MissingKey(UserError):
    """The store answers, but has no such object."""


class Store(Protocol):
    url: str

    def put_bytes(self, key: str, data: bytes) -> None: ...

    def put_file(self, key: str, path: Path) -> None: ...

    def get_bytes(self, key: str) -> bytes:
        """Raises ``MissingKey``."""
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

    def list(self, prefix: str) -> list[str]:
        """All keys that start with a prefix, sorted. Slow on S3: not for hot paths."""
        ...

    def delete(self, key: str) -> None:
        """A key that is not there is no error."""
        ...


def open_store(url: str) -> Store:
    """The store behind a directory or ``s3://bucket/prefix``; raises ``UsageError``."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        if not url:
            raise UsageError("--store is empty: expected a directory or s3://bucket/prefix")
        return DirectoryStore(Path(url))
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise UsageError(f"--store {url}: expected a directory or s3://bucket/prefix")
    return S3Store(bucket, prefix.strip("/"))


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class DirectoryStore:
    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self.url = str(self.root)

    def put_bytes(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with local_errors("write", path), _whole_file(path) as file:
            file.write(data)

    def put_file(self, key: str, path: Path) -> None:
        target = self._path(key)
        with local_errors("write", target), path.open("rb") as source, _whole_file(target) as file:
            shutil.copyfileobj(source, file, 1 << 20)

    def get_bytes(self, key: str) -> bytes:
        path = self._path(key)
        with local_errors("read", path):
            return path.read_bytes()

    def fetch(self, key: str, destination: Path) -> None:
        source = self._path(key)
        with (
            local_errors("read", source),
            source.open("rb") as opened,
            local_errors("write", destination),
            _whole_file(destination) as file,
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

    def list(self, prefix: str) -> list[str]:
        folder = self._path(prefix.rpartition("/")[0])
        with local_errors("list", folder):
            files = [Path(where) / name for where, _, names in os.walk(folder) for name in names]
        keys = (path.relative_to(self.root).as_posix() for path in files if not path.name.startswith(_HALF))
        return sorted(key for key in keys if key.startswith(prefix))

    def delete(self, key: str) -> None:
        path = self._path(key)
        with local_errors("delete", path):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # the folder goes with its last file, and stays while there are others
            path.parent.rmdir()

    def _path(self, key: str) -> Path:
        leaves = key.startswith("/") or ".." in key.split("/")
        assert not leaves, f"key {key!r} leaves the store"
        return self.root / key


@contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write under another name, then rename: nobody sees half a file, not even after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{_HALF}{uuid.uuid4().hex[:12]}")
    try:
        with half.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def local_errors(action: str, path: Path) -> Iterator[None]:
    """The system's refusals as ``UserError``; ``action`` is read, write, list or delete."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingKey(f"{error.filename or path} is not there") from error
    except OSError as error:
        raise UserError(_local_message(action, path, error)) from error


def _local_message(action: str, path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"disk full at {path.parent}: free space or choose another --store"
    if isinstance(error, PermissionError):
        return f"no right to {action} {path}: change its owner or mode, or choose another --store"
    if isinstance(error, NotADirectoryError | FileExistsError):
        return f"cannot {action} {path}: a part of the path is a file, expected a directory; choose another --store"
    return f"cannot {action} {path}: {error.strerror or error}"


class S3Store:
    """Endpoint, region and credentials are where boto3 looks for them: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, ...."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        with self._errors("open", ""):
            self._client = _s3_client()

    def put_bytes(self, key: str, data: bytes) -> None:
        with self._errors("write", key):
            self._client.put_object(Bucket=self.bucket, Key=self.prefix + key, Body=data)

    def put_file(self, key: str, path: Path) -> None:
        with self._errors("write", key), path.open("rb") as file:
            self._client.upload_fileobj(file, self.bucket, self.prefix + key)

    def get_bytes(self, key: str) -> bytes:
        with self._errors("read", key):
            return self._client.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"].read()

    def fetch(self, key: str, destination: Path) -> None:
        with local_errors("write", destination), _whole_file(destination) as file, self._errors("read", key):
            self._client.download_fileobj(self.bucket, self.prefix + key, file)

    def local_path(self, key: str) -> Path | None:
        return None

    def exists(self, key: str) -> bool:
        try:
            with self._errors("read", key):
                self._client.head_object(Bucket=self.bucket, Key=self.prefix + key)
        except MissingKey:
            return False
        return True

    def etag(self, key: str) -> str:
        """What tells one content of the object from another."""
        with self._errors("read", key):
            return self._client.head_object(Bucket=self.bucket, Key=self.prefix + key)["ETag"].strip('"')

    def folders(self, prefix: str) -> list[str]:
        with self._errors("list", prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix, Delimiter="/"
            )
            found = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", ())]
        return sorted(key.removeprefix(self.prefix + prefix).rstrip("/") for key in found)

    def list(self, prefix: str) -> list[str]:
        with self._errors("list", prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            found = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return sorted(key.removeprefix(self.prefix) for key in found)

    def delete(self, key: str) -> None:
        with self._errors("delete", key):
            self._client.delete_object(Bucket=self.bucket, Key=self.prefix + key)

    @contextmanager
    def _errors(self, action: str, key: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"{self.url}/{key}".rstrip("/")
        try:
            yield
        except ClientError as error:
            raise _refusal(error.response.get("Error", {}), action, where, self.bucket) from error
        except BotoCoreError as error:
            raise UserError(_no_answer(error, action, where)) from error


def _s3_client() -> Any:
    from boto3.session import Session
    from botocore.config import Config

    retries = {"mode": "standard", "max_attempts": 6}
    # Many threads move the parts of one file, so the pool is larger than botocore's 10.
    config = Config(retries=retries, connect_timeout=10, read_timeout=60, max_pool_connections=32)
    return Session().client("s3", config=config)


_NO_RIGHTS = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}


def _refusal(error: dict[str, str], action: str, where: str, bucket: str) -> UserError:
    code = error.get("Code", "unknown")
    if code in ("404", "NoSuchKey"):
        return MissingKey(f"{where} is not there")
    if code == "NoSuchBucket":
        return UserError(f"there is no bucket {bucket!r}: create it, or choose another --store")
    if code in _NO_RIGHTS:
        return UserError(f"no right to {action} {where} ({code}): check the credentials and the bucket's policy")
    return UserError(f"cannot {action} {where}: the server says {code}: {error.get('Message', '')}".rstrip(": "))


def _no_answer(error: Exception, action: str, where: str) -> str:
    from botocore.exceptions import NoCredentialsError, PartialCredentialsError

    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return f"no S3 credentials to {action} {where}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "AWS"
    return f"cannot {action} {where}: {endpoint} does not answer ({type(error).__name__}); check AWS_ENDPOINT_URL"
