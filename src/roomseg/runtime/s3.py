"""A store on S3 or what speaks like it. The only module that knows boto3.

Two layers try again. botocore's ``standard`` mode repeats a request a few times within seconds (connections that break,
5xx, throttling). What it leaves is ours: bodies that break off or come with wrong bytes, outages of minutes, and
credentials that expire, which are then read anew. Our pauses grow to 20 s, with jitter.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

from roomseg.errors import UserError
from roomseg.runtime.storage import MissingKey, StoredObject, local_errors, whole_file

PATIENCE_S = 300.0  # with a server that has answered before: it will come back
_RENEWAL_S = 30.0  # for new credentials, once the old ones have expired
_LONGEST_PAUSE_S = 20.0
_DIGEST = "sha256"  # in the metadata of small objects
_T = TypeVar("_T")


class S3Store:
    """Endpoint, region and credentials are where boto3 looks for them: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, ....

    ``ROOMSEG_S3_TIMEOUT_S`` is how long a silent connection is waited for (60).
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._answered = False
        self._jitter = random.Random()
        self._client = self._opened()

    def put_bytes(self, key: str, data: bytes) -> None:
        self._try("write", key, lambda: self._put(key, data))

    def put_file(self, key: str, path: Path) -> None:
        """In parts of 8 MB where it is larger, several at a time."""

        def upload() -> None:
            with path.open("rb") as file:  # each time: boto3 closes it where an upload fails
                self._client.upload_fileobj(file, self.bucket, self.prefix + key)

        with local_errors("read", path):
            self._try("write", key, upload)

    def put_if_absent(self, key: str, data: bytes) -> str | None:
        return self._put_on_condition(key, data, IfNoneMatch="*")

    def replace(self, key: str, data: bytes, version: str) -> str | None:
        return self._put_on_condition(key, data, IfMatch=version)

    def get_bytes(self, key: str) -> bytes:
        return self.get_versioned(key)[0]

    def get_versioned(self, key: str) -> tuple[bytes, str]:
        return self._try("read", key, lambda: self._get(key))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        def read() -> bytes:
            reach = f"bytes={start}-{start + length - 1}"
            return self._client.get_object(**self._at(key), Range=reach)["Body"].read()

        try:
            return self._try("read", key, read)
        except _BeyondTheEnd:
            return b""

    def fetch(self, key: str, destination: Path) -> None:
        with local_errors("write", destination), whole_file(destination) as file:

            def download() -> None:
                file.seek(0)
                file.truncate()
                self._client.download_fileobj(self.bucket, self.prefix + key, file)

            self._try("read", key, download)

    def local_path(self, key: str) -> Path | None:
        return None

    def exists(self, key: str) -> bool:
        try:
            self._head(key)
        except MissingKey:
            return False
        return True

    def etag(self, key: str) -> str:
        """What tells one content of the object from another."""
        return self._head(key)["ETag"].strip('"')

    def size(self, key: str) -> int:
        return self._head(key)["ContentLength"]

    def age_s(self, key: str) -> float:
        head = self._head(key)
        return _age_s(head, head["LastModified"])

    def folders(self, prefix: str) -> list[str]:
        pages = self._pages("list_objects_v2", prefix, Delimiter="/")
        found = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", ())]
        return sorted(key.removeprefix(self.prefix + prefix).rstrip("/") for key in found)

    def list(self, prefix: str) -> list[str]:
        return sorted(found.key for found in self.objects(prefix))

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        for page in self._pages("list_objects_v2", prefix):
            for entry in page.get("Contents", ()):
                key = entry["Key"].removeprefix(self.prefix)
                yield StoredObject(key, entry["Size"], _age_s(page, entry["LastModified"]))

    def unfinished(self) -> Iterator[StoredObject]:
        """Its keys are ``key#upload id``."""
        for page in self._pages("list_multipart_uploads", ""):
            for upload in page.get("Uploads", ()):
                key = f"{upload['Key'].removeprefix(self.prefix)}#{upload['UploadId']}"
                yield StoredObject(key, 0, _age_s(page, upload["Initiated"]))

    def discard(self, unfinished: StoredObject) -> None:
        key, _, upload = unfinished.key.rpartition("#")
        self._try("delete", key, lambda: self._client.abort_multipart_upload(**self._at(key), UploadId=upload))

    def delete(self, key: str) -> None:
        self._try("delete", key, lambda: self._client.delete_object(**self._at(key)))

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + key}

    def _put(self, key: str, data: bytes, **condition: str) -> str:
        metadata = {_DIGEST: hashlib.sha256(data).hexdigest()}
        return self._client.put_object(**self._at(key), Body=data, Metadata=metadata, **condition)["ETag"]

    def _put_on_condition(self, key: str, data: bytes, **condition: str) -> str | None:
        try:
            return self._try("write", key, lambda: self._put(key, data, **condition))
        except (_ConditionFailed, MissingKey):
            return self._version_if_ours(key, data)

    def _version_if_ours(self, key: str, data: bytes) -> str | None:
        """A write whose answer was lost is refused when it is tried again, though it has won."""
        try:
            found, version = self.get_versioned(key)
        except MissingKey:
            return None
        return version if found == data else None

    def _get(self, key: str) -> tuple[bytes, str]:
        answer = self._client.get_object(**self._at(key))
        data = answer["Body"].read()
        wanted = answer["Metadata"].get(_DIGEST)
        if wanted is not None and hashlib.sha256(data).hexdigest() != wanted:
            raise _WrongBytes(f"{self.url}/{key} comes with wrong bytes, again and again: check the server")
        return data, answer["ETag"]

    def _head(self, key: str) -> Any:
        return self._try("read", key, lambda: self._client.head_object(**self._at(key)))

    def _pages(self, method: str, prefix: str, **options: str) -> Sequence[Any]:
        def read() -> Sequence[Any]:
            pages = self._client.get_paginator(method)
            return list(pages.paginate(Bucket=self.bucket, Prefix=self.prefix + prefix, **options))

        return self._try("list", prefix, read)

    def _try(self, action: str, key: str, call: Callable[[], _T]) -> _T:
        """Do it, again if need be; raises ``UserError`` when patience ends or trying again cannot help."""
        where = f"{self.url}/{key}".rstrip("/")
        pause_s, since = 0.2, {PATIENCE_S: time.monotonic()}  # credentials may expire late in an outage
        while True:
            try:
                result = call()
            except _failures() as error:  # type: ignore[misc]  # a call gives the classes: boto3 is imported late
                patience_s, told = self._judge(error, action, where)
                now = time.monotonic()
                if now - since.setdefault(patience_s, now) >= patience_s:
                    raise told from error
            else:
                self._answered = True
                return result
            time.sleep(pause_s * self._jitter.uniform(0.5, 1))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _judge(self, error: Exception, action: str, where: str) -> tuple[float, UserError]:
        """How long trying again makes sense, and what to say when it does not."""
        from botocore.exceptions import ClientError

        if isinstance(error, _WrongBytes):
            return PATIENCE_S, error
        if not isinstance(error, ClientError):
            lasting = isinstance(error, _lasting_failures()) or (not self._answered and not _came_through(error))
            return 0.0 if lasting else PATIENCE_S, UserError(_no_answer(error, action, where))
        self._answered = True
        code, status = _code_of(error), error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
        told = _refusal(error.response.get("Error", {}), action, where, self.bucket)
        if code in _EXPIRED:
            self._client = self._opened()
            return _RENEWAL_S, told
        return PATIENCE_S if status >= 500 or code in _PASSING else 0.0, told

    def _opened(self) -> Any:
        """A client that has read the credentials anew."""
        timeout_s = _timeout_s()
        try:
            return _s3_client(timeout_s)
        except (*_failures(), ValueError) as error:  # type: ignore[misc]
            raise UserError(_no_answer(error, "open", self.url)) from error


class _ConditionFailed(UserError):
    pass


class _BeyondTheEnd(UserError):
    pass


class _WrongBytes(UserError):
    pass


def _age_s(answer: Any, written: datetime) -> float:
    """Between two times that the server gives: no other clock counts."""
    now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    return (now - written).total_seconds()


def _s3_client(timeout_s: float) -> Any:
    from boto3.session import Session
    from botocore.config import Config

    retries = {"mode": "standard", "total_max_attempts": 4}
    # Many threads move the parts of one file, so the pool is larger than botocore's 10.
    config = Config(
        retries=retries, connect_timeout=min(10.0, timeout_s), read_timeout=timeout_s, max_pool_connections=32
    )
    return Session().client("s3", config=config)


def _timeout_s() -> float:
    given = os.environ.get("ROOMSEG_S3_TIMEOUT_S", "60")
    try:
        timeout_s = float(given)
    except ValueError:
        timeout_s = 0.0
    if not 0 < timeout_s < 1e6:
        raise UserError(f"ROOMSEG_S3_TIMEOUT_S is {given!r}: expected seconds, such as 60")
    return timeout_s


def _failures() -> tuple[type[Exception], ...]:
    """All that boto3 raises for a server's or a network's failure."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError  # botocore lets those through that break off a body

    return (BotoCoreError, ClientError, Boto3Error, HTTPError, _WrongBytes)


def _lasting_failures() -> tuple[type[Exception], ...]:
    """Those of them that trying again does not mend."""
    from botocore.exceptions import NoCredentialsError, ParamValidationError, PartialCredentialsError, ProfileNotFound

    return (NoCredentialsError, PartialCredentialsError, ParamValidationError, ProfileNotFound)


def _came_through(error: Exception) -> bool:
    """Somebody answered, if not well: the address is right."""
    from botocore.exceptions import FlexibleChecksumError, IncompleteReadError, ResponseStreamingError
    from urllib3.exceptions import HTTPError

    return isinstance(error, FlexibleChecksumError | IncompleteReadError | ResponseStreamingError | HTTPError)


_NO_RIGHTS = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
_EXPIRED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "TokenRefreshRequired",
    "400",  # all that a HEAD request is told, also of an expired token
}
_PASSING = {  # refusals, not of the 5xx kind, that the next attempt may not meet
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "NoSuchUpload",  # a server that was restarted forgets the parts that it had
    "OperationAborted",
    "RequestTimeout",
    "SlowDown",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}


def _code_of(error: Any) -> str:
    return error.response.get("Error", {}).get("Code", "unknown")


def _refusal(error: dict[str, str], action: str, where: str, bucket: str) -> UserError:
    code = error.get("Code", "unknown")
    if code in ("404", "NoSuchKey"):
        return MissingKey(f"{where} is not there")
    if code in ("412", "PreconditionFailed"):
        return _ConditionFailed(f"{where} was changed by another process")
    if code in ("416", "InvalidRange"):
        return _BeyondTheEnd(f"{where} is shorter than was asked for")
    if code == "NoSuchBucket":
        return UserError(f"there is no bucket {bucket!r}: create it, or choose another --store")
    if code in _NO_RIGHTS | _EXPIRED:
        return UserError(f"no right to {action} {where} ({code}): check the credentials and the bucket's policy")
    return UserError(f"cannot {action} {where}: the server says {code}: {error.get('Message', '')}".rstrip(": "))


def _no_answer(error: Exception, action: str, where: str) -> str:
    from botocore.exceptions import NoCredentialsError, PartialCredentialsError

    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return f"no S3 credentials to {action} {where}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    endpoint = _without_user(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "AWS")
    return f"cannot {action} {where}: {endpoint} does not answer ({type(error).__name__}); check AWS_ENDPOINT_URL"


def _without_user(url: str) -> str:
    """Without a user name and password that someone put there."""
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
