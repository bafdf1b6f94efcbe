"""Where processes really listen, by what Linux says of their sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_LISTENS = "0A"


def processes_of(session: int) -> list[int]:
    """All that were started in a session: by ``Popen(..., start_new_session=True)`` and by what that started."""
    found = [int(each.name) for each in Path("/proc").glob("[0-9]*")]
    return [pid for pid in found if _session(pid) == session]


def listening(pids: Iterable[int]) -> set[tuple[str, int]]:
    """(address, port) of each of the processes' sockets that waits for connections over IP."""
    theirs = {inode for pid in pids for inode in _sockets(pid)}
    return {place for inode, place in _all_listening().items() if inode in theirs}


def _session(pid: int) -> int | None:
    with suppress(ProcessLookupError):
        return os.getsid(pid)
    return None  # it has ended


def _sockets(pid: int) -> set[str]:
    inodes = set()
    with suppress(FileNotFoundError, PermissionError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                target = os.readlink(link)
                if target.startswith("socket:["):
                    inodes.add(target[len("socket:[") : -1])
    return inodes


def _all_listening() -> dict[str, tuple[str, int]]:  # by inode
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENS:
                address, port = fields[1].split(":")
                found[fields[9]] = (_address(address), int(port, 16))
    return found


def _address(words: str) -> str:
    """Linux writes 32-bit words of the machine's order."""
    data = b"".join(bytes.fromhex(words[start : start + 8])[::-1] for start in range(0, len(words), 8))
    return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)
