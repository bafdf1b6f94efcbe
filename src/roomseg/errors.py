"""The errors that a user may see: one line, what was got, what was expected, what to do."""

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_START, _END = 1200, 400  # letters that are kept of a longer text: what it is about, and what to do
_CPU_IS_FULL = ("DefaultCPUAllocator", "std::bad_alloc")
_GPU_IS_FULL = ("CUDA error: out of memory", "_STATUS_ALLOC_FAILED")  # of CUDA's libraries, beside torch's allocator
# User name and password in a URL. Passwords of databases may have / and @; what only looks like one is a port.
_LOGIN = re.compile(r"(?<=://)(?:[^/\s:]*:(?!\d+/)\S*|[^/\s]*)@")
_QUERIED = re.compile(r"(?<=[?&])([^=&\s]*(?:password|secret|token|signature)=)[^&\s]+", re.IGNORECASE)


def one_line(text: str) -> str:
    """A text that may quote files and servers, as one line that a terminal only shows, without passwords of URLs."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    line = _QUERIED.sub(r"\1...", without_logins(line))
    return line if len(line) <= _START + _END else f"{line[:_START]} ... {line[-_END:]}"


def without_logins(text: str) -> str:
    """Without the user names and passwords before the hosts of URLs in it."""
    return _LOGIN.sub("", text)


def first_line(error: Exception) -> str:
    """Of its text; an error without one is told by its type."""
    return next(iter(str(error).splitlines()), type(error).__name__)


class UserError(ValueError):
    """A failure that the user can mend; the command line prints its text as one line and exits with 1."""

    exit_code = 1

    def __init__(self, text: str) -> None:
        super().__init__(one_line(text))


class UsageError(UserError):
    """The command or the configuration is wrong; exits with 2."""

    exit_code = 2


def out_of_memory(where: str) -> str:
    """Where nothing better is known."""
    return f"out of {where} memory; take a machine with more, in a cluster give the stage more `memory`"


def full_memory(error: Exception) -> str:
    """Which memory the error says is full: CPU, GPU, or "" for another error.

    numpy, numba and Python have a type for it, and torch for its own allocator of GPU memory; else there is the text.
    """
    text = str(error) if isinstance(error, RuntimeError) else ""
    refused = isinstance(error, OSError) and error.errno == errno.ENOMEM  # the system, a file mapped into memory
    if refused or isinstance(error, MemoryError) or any(words in text for words in _CPU_IS_FULL):
        return "CPU"
    if type(error).__name__ == "OutOfMemoryError" or any(words in text for words in _GPU_IS_FULL):
        return "GPU"
    return ""


@contextmanager
def told_when_memory_runs_out(message: Callable[[str], str]) -> Iterator[None]:
    """Raises ``UserError`` with ``message("CPU")`` or ``message("GPU")`` where memory runs out: one line."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if where := full_memory(error):
            raise UserError(message(where)) from error
        raise
