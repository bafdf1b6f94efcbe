"""What a person sees of a local pipeline run: the stages' own lines; all that KFP prints goes to a log file."""

from __future__ import annotations

import os
import sys
from collections import deque
from contextlib import AbstractContextManager, redirect_stdout
from pathlib import Path
from types import TracebackType

from roomseg.config import SECTIONS

ERROR_LINE = "roomseg "  # how a stage's one-line error begins
TAIL_LINES = 15


class StageOutput(AbstractContextManager["StageOutput"]):
    """Redirects stdout: all lines go to ``log``, the stages' own (with ``verbose`` all) to the terminal too."""

    def __init__(self, log: Path, verbose: bool) -> None:
        self.log, self.verbose = log, verbose
        self.errors: list[str] = []
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def __enter__(self) -> StageOutput:
        self._terminal = sys.stdout
        self._file = self.log.open("w")
        self._redirect = redirect_stdout(_Lines(self))
        self._redirect.__enter__()
        if sys.stderr.isatty():
            os.environ["ROOMSEG_PROGRESS_TTY"] = os.ttyname(sys.stderr.fileno())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._redirect.__exit__(kind, error, trace)
        self._file.close()

    def line(self, text: str) -> None:
        self._file.write(text + "\n")
        self._file.flush()
        bare = text.strip()
        if bare:
            self.tail.append(bare)
        first_word = bare.partition(" ")[0].rstrip(":")
        if bare.startswith(ERROR_LINE) and ": error: " in bare:
            self.errors.append(bare)
        elif self.verbose or first_word in SECTIONS:  # what a stage means for a person begins with its name
            print(text if self.verbose else bare, file=self._terminal, flush=True)

    def failure(self) -> str:
        """One line for a run that failed: the stage's own, or where to look."""
        if self.errors:
            return self.errors[-1].removeprefix(ERROR_LINE).replace(": error: ", ": ", 1)
        return (
            "a stage crashed; the last it said: " + " | ".join(list(self.tail)[-3:]) + f"; all of it is in {self.log}"
        )


class _Lines:
    """A text stream that hands on whole lines."""

    def __init__(self, output: StageOutput) -> None:
        self.output, self.rest = output, ""

    def write(self, text: str) -> int:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self.output.line(line)
        return len(text)

    def flush(self) -> None:
        pass
