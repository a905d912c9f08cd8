"""Requests and parsers that many tests of the transport use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ds3tool.protocol.messages import Request, Response
from ds3tool.transport.pool import IncomingBody
from tests.transport.scripted import WAIT_SECONDS

T = TypeVar("T")

GET = Request("GET", "/bucket/key")
PUT = Request("PUT", "/bucket/key")
# Creating a job is the kind of call that must not be done twice.
CREATE = Request("PUT", "/_rest_/bucket/b", query=(("operation", "start_bulk_put"),), body=b"<O/>", idempotent=False)


def content(response: Response) -> bytes:
    """Read a body whole."""
    return b"".join(response.body)


def status(response: Response) -> int:
    """Leave the body unread."""
    return response.status


def into_file(
    descriptor: int,
    offset: int = 0,
    moved: Callable[[int], None] | None = None,
    seen: Callable[[bytes | memoryview], None] | None = None,
) -> Callable[[Response], int]:
    """Return a parser that moves the body into a file, and returns its length."""

    def parse(response: Response) -> int:
        assert isinstance(response.body, IncomingBody)
        response.body.into_file(descriptor, offset, moved=moved, seen=seen)
        assert response.body.length is not None
        return response.body.length

    return parse


def pattern(length: int, seed: int = 0) -> bytes:
    """Return bytes in which every place can be told from its neighbours."""
    block = b"".join((number * 2654435761 + seed & 0xFFFFFFFF).to_bytes(4, "big") for number in range(4099))
    return (block * (length // len(block) + 1))[:length]


class Running(Generic[T]):
    """A call in a thread of its own; `result` waits for it and raises what it raised."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._outcome: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="running", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome.append(self._call())
        except BaseException as error:  # noqa: BLE001  # raised by `result`
            self._error = error

    def result(self) -> T:
        """Return what the call returned."""
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive(), "it hangs"
        if self._error is not None:
            raise self._error
        return self._outcome[0]
