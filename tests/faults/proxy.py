"""A proxy on loopback between boto3 and an S3 server that does to some requests what networks and servers do."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

BURST = 4  # requests that a burst of 503 lasts


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class FaultyProxy(ThreadingHTTPServer):
    """``share`` of the requests meet a fault, until ``limit`` were made; the kind is drawn too, from the seed."""

    daemon_threads = True
    request_queue_size = 128  # of 5, a busy machine lets connections wait beyond the client's time

    def __init__(self, server: str, seed: int, share: float, limit: int, slow_s: float = 0.2) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(server).netloc
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.share, self.limit, self.slow_s = share, limit, slow_s
        self.made: Counter[str] = Counter()
        self.requests = 0
        self.listings: dict[str, Answer] = {}
        self._rng, self._lock, self._burst = random.Random(seed), threading.Lock(), 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def draw(self, kinds: list[str]) -> str:
        """What happens to a request for which these faults are possible; empty for nothing."""
        with self._lock:
            self.requests += 1
            if self.made.total() >= self.limit:
                return ""
            kind = ""
            if self._burst:
                self._burst, kind = self._burst - 1, "burst of 503"
            elif self._rng.random() < self.share:
                kind = self._rng.choice(kinds)
                self._burst = BURST - 1 if kind == "burst of 503" else 0
            if kind:
                self.made[kind] += 1
            return kind

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that break are the matter of this server."""

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def _serve(self) -> None:
        body = self._request_body()
        if body is None:
            return self._reset()
        query = parse_qs(urlsplit(self.path).query)
        kinds = ["burst of 503", "slow", "silence", "reset before", "expired credentials", "lost answer"]
        if self.command == "GET":
            kinds += ["reset in the body", "cut short", "cut short, length too", "wrong bytes"]
            kinds += ["stale listing"] if "list-type" in query else []
        if self.command == "PUT" and body:
            kinds += ["wrong bytes sent"]
        kind = self.server.draw(kinds)
        answer_early: dict[str, Callable[[], None]] = {
            "burst of 503": lambda: self._refuse(503, "SlowDown"),
            "expired credentials": lambda: self._refuse(400, "ExpiredToken"),
            "reset before": self._reset,
            "silence": self._say_nothing,
        }
        if kind in answer_early:
            return answer_early[kind]()
        if kind == "slow":
            time.sleep(self.server.slow_s)
        if kind == "wrong bytes sent":
            body = _flipped(body)
        self._answer(self._ask(body), kind)
        return None

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve

    def _request_body(self) -> bytes | None:
        """As it was sent, with its chunks; None where the sender gave up."""
        if self.headers.get("Expect", "").lower() == "100-continue":
            pass  # http.server has answered
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def _ask(self, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self.server.target, timeout=30)
        hidden = {"connection", "expect", "content-length", "transfer-encoding"}
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in hidden:
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        answer = Answer(response.status, response.getheaders(), response.read())
        connection.close()
        return answer

    def _answer(self, answer: Answer, kind: str) -> None:
        if kind == "lost answer":
            return self._reset()
        if "list-type=2" in self.path and answer.status == 200:
            earlier = self.server.listings.get(self.path)
            self.server.listings[self.path] = answer
            if kind == "stale listing" and earlier is not None:
                answer = earlier
        body, told = answer.body, len(answer.body)
        if self.command == "HEAD":
            told = int({k.lower(): v for k, v in answer.headers}.get("content-length", 0))
        if kind == "wrong bytes" and body:
            body = _flipped(body)
        if kind in ("cut short", "cut short, length too", "reset in the body"):
            body = body[: len(body) // 2]
            told = len(body) if kind == "cut short, length too" else told
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(told))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        if kind == "reset in the body":
            self._reset()
        if kind == "cut short":
            self.close_connection = True
        return None

    def _refuse(self, status: int, code: str) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _say_nothing(self) -> None:
        time.sleep(1.5)  # longer than the client waits
        self._reset()

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        pass


def _flipped(body: bytes) -> bytes:
    place = len(body) // 3
    return body[:place] + bytes([body[place] ^ 0x10]) + body[place + 1 :]
