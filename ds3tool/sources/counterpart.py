"""Local files held against the objects that were made of them: the same bytes, and none missing."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable

from ds3tool.errors import PathNotFoundError
from ds3tool.jobs.integrity import has_digests
from ds3tool.jobs.known_digests import Held
from ds3tool.jobs.verification import DIFFERENT, Problem, Stated
from ds3tool.protocol import escaped
from ds3tool.protocol.model import ObjectHead


class _StoppedError(Exception):
    """Nobody waits for the answer any more."""


class _ShorterError(Exception):
    """A file ended before its size."""


class LocalFiles:
    """A folder whose files have the objects' names; or, for one object, a file. Nothing is written.

    PathNotFoundError when the path is not there.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self.is_folder = stat.S_ISDIR(os.stat(path).st_mode)
        except OSError as error:
            raise PathNotFoundError(f"{path} cannot be reached: {error.strerror}") from error

    def problem(self, name: str, head: ObjectHead, stated: Stated, stopped: threading.Event) -> Problem | None:
        """Return how the file called `name` differs from the object; None when size and digests are the same."""
        if not self.is_folder:
            return _compared(self._path, head, stated, stopped)
        name = escaped.raw_name(name, head.key, head.metadata) or name
        parts = name.removesuffix("/").split("/")
        if "\0" in name or not {"", ".", ".."}.isdisjoint(parts):
            return Problem("no local file can have its name")
        path = os.path.join(self._path, *parts)
        if name.endswith("/"):
            if head.size:
                return Problem(f"has {head.size} bytes, and a name that only a folder can have here")
            return None if os.path.isdir(path) else Problem("is a folder here, and none there")
        return _compared(path, head, stated, stopped)


def _compared(path: str, head: ObjectHead, stated: Stated, stopped: threading.Event) -> Problem | None:
    try:
        # Without O_NONBLOCK a FIFO would wait for somebody to write.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return Problem(f"is not at {path}")
    except (OSError, UnicodeEncodeError) as error:
        return Problem(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'its name is too strange'}")
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            return Problem(f"{path} is no file")
        if state.st_size != head.size:
            return Problem(f"has {head.size} bytes, and {state.st_size} at {path}", DIFFERENT)
        return _held(path, head, stated, _reader(descriptor, stopped))
    except OSError as error:
        return Problem(f"{path} cannot be read: {error.strerror}")
    except _ShorterError:
        return Problem(f"{path} became shorter while it was read")
    except _StoppedError:
        return Problem("was not compared")
    finally:
        os.close(descriptor)


def _held(path: str, head: ObjectHead, stated: Stated, read: Callable[[int, int], bytes]) -> Problem | None:
    """Hold a file of the object's size against what is stated of the object."""
    held = stated.appliance.hold(read, thorough=True)
    told = ""
    if held is Held.UNKNOWN and stated.journal is not None and stated.journal.size == stated.appliance.size:
        held, told = stated.journal.hold(read), " by what was sent (journal): the appliance states no digest"
    if held is Held.UNKNOWN and has_digests(head, read, head.size):
        return None  # by the ETag, which shows no more than that
    match held:
        case Held.SAME:
            return None
        case Held.UNKNOWN:
            return Problem(f"cannot be compared with {path}: the appliance states no digest for all of it")
        case Held.OTHER_WHOLE:
            return Problem(
                f"is the same as {path} now, and was not when the digest in its metadata was made", DIFFERENT
            )
        case _:
            return Problem(f"has other bytes than {path}{told}", DIFFERENT)


def _reader(descriptor: int, stopped: threading.Event) -> Callable[[int, int], bytes]:
    def read(offset: int, length: int) -> bytes:
        pieces = []
        while length:
            if stopped.is_set():
                raise _StoppedError
            piece = os.pread(descriptor, length, offset)
            if not piece:
                raise _ShorterError
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return b"".join(pieces)

    return read
