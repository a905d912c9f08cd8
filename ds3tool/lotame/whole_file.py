"""A file that appears whole under its name, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from ds3tool.errors import SinkError

_END = ".part"


class WholeFile:
    """A file being written beside its name; `commit` makes it appear there, safe on the disk, in place of any other.

    `alone`: nobody else writes this file, so that what a killed process has left of it is removed. As a context manager
    it goes again without a trace unless it was committed. Errors of the disk are SinkErrors.
    """

    def __init__(self, path: str, *, alone: bool = False) -> None:
        """Make the file, and its folder where there is none."""
        self.path = path
        # Through a link, what it leads to is replaced.
        self._target = os.path.realpath(path)
        folder, name = os.path.split(self._target)
        with self._told():
            os.makedirs(folder, exist_ok=True)
            if alone:
                _sweep(folder, name)
            self._temporary = os.path.join(folder, f"{_beginning(name)}{secrets.token_hex(8)}{_END}")
            self._file = open(self._temporary, "xb")  # noqa: SIM115  # closed by `commit`, or when the context ends

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        with self._told():
            self._file.write(data)

    def commit(self) -> None:
        """Give the file its name, once its bytes are safe."""
        with self._told():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._temporary, self._target)
            folder = os.open(os.path.dirname(self._target), os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._temporary)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SinkError(f"{self.path} cannot be written: {error.strerror}") from error


def _beginning(name: str) -> str:
    return f".{name[:150]}."


def _sweep(folder: str, name: str) -> None:
    beginning, length = _beginning(name), len(_beginning(name)) + 16 + len(_END)
    for other in os.listdir(folder):
        if other.startswith(beginning) and other.endswith(_END) and len(other) == length:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, other))
