"""Files on a server, read as if they lay here: a read that fails is tried again from where it stood."""

from __future__ import annotations

import http.client
import io
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

from toedit.console import note
from toedit.errors import MissingInput, UnusableInput

FIRST_PAUSE = 1.0
"""Seconds before the first new attempt; each further pause is twice as long."""

_LONGEST_PAUSE = 60.0
_TIMEOUT = 60.0
_CLIENTS = ("httpx", "httpcore", "requests", "urllib3", "aiohttp")
T = TypeVar("T")


def with_retries(work: Callable[[], T], retries: int, what: str) -> T:
    """`work()`, tried again up to `retries` times while the server or the network fails."""
    for attempt in range(retries + 1):
        try:
            return work()
        except Exception as error:
            if attempt == retries or not is_transient(error):
                raise
            pause(attempt, what, error, retries)
    raise AssertionError("unreachable")


def pause(attempt: int, what: str, error: BaseException, retries: int) -> None:
    """Wait before the attempt after `attempt` (counted from 0), and say why."""
    seconds = min(FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)
    note(f"{what}: {one_line(error)}; attempt {attempt + 2} of {retries + 1} in {seconds:.0f}s")
    time.sleep(seconds)


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later: the network, or a server that is overloaded."""
    status = getattr(error, "code", None) or getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return status >= 500 or status in (408, 425, 429)
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError)):
        return False
    return isinstance(error, (OSError, http.client.HTTPException)) or type(error).__module__.startswith(_CLIENTS)


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


class RemoteFile(io.RawIOBase):
    """A file read through `open_at(position)`, which returns a stream that begins there, and the file's size if known.

    Raises UnusableInput or MissingInput, naming the file, once the retries are used up or the server says no.
    """

    def __init__(self, name: str, open_at: Callable[[int], tuple[Any, int | None]], retries: int) -> None:
        self._name, self._open_at, self._retries = name, open_at, retries
        self._stream: Any = None
        self._position = 0
        self._size: int | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            if self._size is None:
                self._guarded(self._connect)
            if self._size is None:
                raise UnusableInput(f"{self._name}: the server does not say how long the file is")
            offset += self._size
        elif whence == io.SEEK_CUR:
            offset += self._position
        if offset != self._position:
            if self._stream is not None and self._stream.seekable():
                self._stream.seek(offset)
            else:
                self._disconnect()
            self._position = offset
        return offset

    def readinto(self, target: Any) -> int:
        data = self._guarded(lambda: self._read(len(target)))
        target[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._disconnect()
        super().close()

    def _read(self, size: int) -> bytes:
        self._connect()
        try:
            data: bytes = self._stream.read(size)
            if not data and size and self._size is not None and self._position < self._size:
                raise ConnectionError("the connection was closed too early")
        except Exception:
            self._disconnect()
            raise
        return data

    def _connect(self) -> None:
        if self._stream is None:
            self._stream, size = self._open_at(self._position)
            self._size = self._size if size is None else size

    def _disconnect(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return with_retries(work, self._retries, self._name)
        except (UnusableInput, MissingInput):
            raise
        except Exception as error:
            what = f"{self._name}: cannot be fetched ({one_line(error)})"
            if is_transient(error):
                tries = f"corpus.retries={self._retries} did not help"
                raise MissingInput(f"{what}; {tries}; run the same command again to go on") from None
            access = "your access to it (`hf auth login`, the data set's terms)"
            raise UnusableInput(f"{what}; check the address, {access} and corpus.revision") from None


def open_url(url: str, position: int) -> tuple[Any, int | None]:
    """A stream of the bytes at `url` behind `position`, and the size of the whole."""
    headers = {"User-Agent": "toedit", "Accept-Encoding": "identity"}
    if position:
        headers["Range"] = f"bytes={position}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing behind `position`: the end of the file
            return io.BytesIO(b""), position
        raise
    length = response.headers.get("Content-Length")
    size = int(length) if length is not None else None
    if not position:
        return response, size
    if response.status == http.client.PARTIAL_CONTENT:
        return response, None if size is None else position + size
    rest = position  # a server that knows no ranges sends everything again
    while rest and (data := response.read(min(rest, 1 << 20))):
        rest -= len(data)
    return response, size
