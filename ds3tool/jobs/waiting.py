"""Ends of a job that may wait for ever, as a stream for whoever writes or reads it; they end with the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from ds3tool.errors import InterruptedRunError, TransportError
from ds3tool.transport.pool import Transport


@runtime_checkable
class WaitingEnd(Protocol):
    """A source that may keep its reader waiting for ever, or a sink its writer."""

    def give_up_when(self, stopped: Callable[[], bool]) -> None:
        """From now on, let reads, or `receive`, end soon with InterruptedRunError once `stopped` says so.

        They may go on in any thread.
        """
        ...


@contextmanager
def ending_with(transport: Transport, end: object, key: str) -> Iterator[None]:
    """Let what moves a blob of `key` in the block end when the transport's exchanges are stopped.

    That is told as TransportError, as of an exchange, whether or not `end` is one that waits.
    """
    if isinstance(end, WaitingEnd):
        end.give_up_when(transport.stop_token().is_set)
    try:
        yield
    except InterruptedRunError as error:
        raise TransportError(f"{key}: {error.message}") from error
