"""The errors that a user may see: one line, what was got, what was expected, what to do."""

import re

_START, _END = 1200, 400  # letters that are kept of a longer text: what it is about, and what to do
_LOGIN = re.compile(r"(?<=://)[^/\s@]*@")  # user name and password in a URL


def one_line(text: str) -> str:
    """A text that may quote files and servers, as one line that a terminal only shows, without passwords of URLs."""
    line = _LOGIN.sub("", "".join(letter if letter.isprintable() else " " for letter in text))
    return line if len(line) <= _START + _END else f"{line[:_START]} ... {line[-_END:]}"


class UserError(ValueError):
    """A failure that the user can mend; the command line prints its text as one line and exits with 1."""

    exit_code = 1

    def __init__(self, text: str) -> None:
        super().__init__(one_line(text))


class UsageError(UserError):
    """The command or the configuration is wrong; exits with 2."""

    exit_code = 2
