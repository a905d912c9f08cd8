"""Digests a large body beside its arrival: the wire writes the file, this reads after it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import Self

from ds3tool.simulator.wire.checksums import Digester

_PIECE = 1 << 20


class Follower:
    """Digests a file in its own thread while another one writes it, never reading past what has arrived."""

    def __init__(self, descriptor: int, digester: Digester, length: int) -> None:
        self._descriptor = descriptor
        self._digester = digester
        self._length = length
        self._condition = threading.Condition()
        self._available = 0
        self._given_up = False
        self._thread = threading.Thread(target=self._run, name="ds3-digest", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            with self._condition:
                self._given_up = True
                self._condition.notify()
        self._thread.join()

    def arrived(self, count: int) -> None:
        """Say that the first `count` bytes are in the file."""
        with self._condition:
            self._available = count
            self._condition.notify()

    def _run(self) -> None:
        done = 0
        while done < self._length:
            with self._condition:
                while self._available <= done and not self._given_up:
                    self._condition.wait()
                if self._given_up:
                    return
                available = self._available
            for piece in self._pieces(done, available):
                self._digester.update(piece)
            done = available

    def _pieces(self, start: int, end: int) -> Iterable[bytes]:
        while start < end:
            piece = os.pread(self._descriptor, min(_PIECE, end - start), start)
            if not piece:  # the digest will be wrong, and the request refused
                return
            yield piece
            start += len(piece)
