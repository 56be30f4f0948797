"""The errors a user can cause. Each is one clear line and one exit code; `run.py` prints it without a traceback.

| exit code | error |
|---|---|
| 2 | `BadConfiguration`, `UnusableInput`, `Diverged` |
| 3 | `MissingInput`: the message holds the command that builds it |
| 75 | `Interrupted`: run the same command again to resume |
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class ToEditError(Exception):
    """Base of every error that names a key, a file or a row. The message is a single line."""

    exit_code = 2


class BadConfiguration(ToEditError):
    """A key is misspelt, has a value outside its range, or contradicts another key."""


class UnusableInput(ToEditError):
    """A file, model or artifact exists and cannot be used."""


class Diverged(ToEditError):
    """A training whose loss is no number any more: the same command would end there again."""


class MissingInput(ToEditError):
    """An input named by the configuration does not exist."""

    exit_code = 3


class Interrupted(ToEditError):
    """The work stopped half-way (signal, full disk); what was committed is kept."""

    exit_code = 75


class OutOfMemory(Interrupted):
    """No memory was left, so that libraries may not end in an orderly way, either."""


class PointsFailed(ToEditError):
    """Some points of an experiment failed; the exit code is that of the first."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def naming(own: str, key: str) -> Iterator[None]:
    """An error that begins with the key `own` begins with `key` instead: a section used under another name."""
    try:
        yield
    except ToEditError as error:
        message = str(error)
        if not message.startswith(own):
            raise
        raise type(error)(key + message[len(own) :]) from None
