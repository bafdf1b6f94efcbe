"""A JSON answer over HTTP, with what went wrong told apart."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

TIMEOUT_S = 15


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str]) -> None:
        super().__init__(f"{status} {reason}")
        self.status, self.headers = status, headers


class Silent(Exception):
    """Nobody answered, or not in JSON."""


def get_json(url: str, headers: Mapping[str, str], method: str = "GET") -> Any:
    """The answer; None for an empty one. Raises ``Refused`` and ``Silent``."""
    request = urllib.request.Request(url, headers=dict(headers), method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        raise Refused(error.code, error.reason, dict(error.headers)) from None
    except OSError as error:
        raise Silent(str(getattr(error, "reason", error))) from None
    try:
        return json.loads(text) if text else None
    except ValueError:
        raise Silent("the answer is no JSON") from None


def bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}
