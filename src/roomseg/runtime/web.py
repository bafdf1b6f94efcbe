"""A JSON object over HTTP, with what went wrong told apart."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

from roomseg.errors import UsageError

TIMEOUT_S = 15


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        super().__init__(f"{status} {reason}")
        self.status, self.reason, self.headers, self.body = status, reason, headers, body


class Silent(Exception):
    """Nobody answered, or not in HTTP, or with something else than a JSON object; the text says which."""


def get_json(url: str, headers: Mapping[str, str], method: str = "GET") -> dict[str, Any]:
    """The answer, empty for ``HEAD``; raises ``Refused`` and ``Silent``."""
    if not url.startswith(("http://", "https://")):
        raise Silent("expected an address that begins with https:// or http://")
    try:
        request = urllib.request.Request(url, headers=dict(headers), method=method)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        raise Refused(error.code, error.reason, dict(error.headers), _rest(error)) from None
    except (HTTPException, OSError, ValueError) as error:  # ValueError: an address that is none
        raise Silent(_reason(error)) from None
    return {} if method == "HEAD" else json_object(text)


def json_object(text: bytes) -> dict[str, Any]:
    """Raises ``Silent``: what answers so is another kind of server."""
    try:
        value = json.loads(text)
    except ValueError:
        raise Silent("the answer is no JSON") from None
    if not isinstance(value, dict):
        raise Silent("the answer is no JSON object")
    return value


def bearer(token: str | None) -> dict[str, str]:
    if token and not re.fullmatch(r"[\x21-\x7e]+", token):
        raise UsageError("the token has a blank, a line break or another character that no token has; give it anew")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _rest(error: urllib.error.HTTPError) -> bytes:
    try:
        return error.read()
    except (HTTPException, OSError):
        return b""


def _reason(error: Exception) -> str:
    text = str(getattr(error, "reason", error)).strip()
    return f"{type(error).__name__}: {text}" if isinstance(error, HTTPException) else text or type(error).__name__
