"""A server on loopback that gives the JSON answers it is told to; what it is not told is 404."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Answer = tuple[int, Any, dict[str, str]]


class Answers(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.of: dict[str, Callable[[dict[str, str], Any], Answer]] = {}  # "METHOD /path" -> (headers, body) -> answer
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def tell(self, request: str, value: Any, status: int = 200) -> None:
        self.of[request] = lambda headers, body: (status, value, {})


class _Handler(BaseHTTPRequestHandler):
    server: Answers

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        request = f"{self.command} {urlsplit(self.path).path}"
        answer = self.server.of.get(request, lambda *_: (404, {"message": f"no {request}"}, {}))
        status, value, headers = answer({k.title(): v for k, v in self.headers.items()}, body)
        data = b"" if self.command == "HEAD" else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_HEAD = do_DELETE = _answer

    def log_message(self, *_: Any) -> None:
        pass
