"""Whether a source was left alone while all of its blobs were sent, also where its time was put back afterwards.

Size, time of modification and identity are held against the plan at every blob. Whoever writes to a file and puts its
time back escapes that, and not the time of the last change of the file's state (ctime), which nobody can put back. But
that one also changes when a file is renamed, linked or given other rights; so it is no reason to fail, only one to
look at the bytes again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field

from ds3tool.jobs.remainder import HeldBlobs
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ChecksumType


def mark_of(opened: object) -> int:
    """Return a number as of a source object's last `check_unchanged`; what is written to has another one after it.

    It is what its method `mark` says, and always 0 for one that has none: nobody can tell then.
    """
    # To look a method up is a tenth of what it takes to see whether a Protocol is kept.
    mark: Callable[[], int] | None = getattr(opened, "mark", None)
    return 0 if mark is None else mark()


@dataclass(slots=True)
class _Sending:
    """An object under way: the digests of its blobs that were sent, by offset, and every mark it had meanwhile."""

    digests: dict[int, str] = field(default_factory=dict)
    marks: set[int] = field(default_factory=set)


class Steadiness:
    """The objects of one put job while their blobs are sent. Safe for several threads.

    `earlier` are blobs that another run of the same work has sent: an object that something was done to since
    `since_ns`, when that work began, must still have their digests. Memory: the digests of the blobs of objects that
    have several and are under way.
    """

    def __init__(self, kind: ChecksumType | None = None, earlier: HeldBlobs | None = None, since_ns: int = 0) -> None:
        self._kind = kind
        self._earlier = earlier
        self._since_ns = since_ns
        self._lock = threading.Lock()
        self._sendings: dict[int, _Sending] = {}

    def sent(
        self, owner: int, offset: int, digest: str, *, marks: Iterable[int], blobs: int
    ) -> Mapping[int, str] | None:
        """Take a blob of object `owner` that was sent, and the marks from before its digest until after its sending.

        Returns the digests by offset that must be made again, when this was the last of the `blobs` that the object
        has to send, and something was done to it meanwhile; else None.
        """
        with self._lock:
            sending = self._sendings.setdefault(owner, _Sending())
            sending.digests[offset] = digest
            sending.marks.update(marks)
            if len(sending.digests) < blobs:
                return None
            earlier = self._sent_before(owner)
            doubtful = len(sending.marks) > 1 or (earlier and max(sending.marks) >= self._since_ns)
            return {**earlier, **sending.digests} if doubtful else None

    def _sent_before(self, owner: int) -> dict[int, str]:
        """Return the digests, by offset, of an object's blobs that an earlier run has sent."""
        held = self._earlier
        if held is None:
            return {}
        return {
            held.offsets[place]: checksum
            for place in reversed(list(held.numbers_of(owner)))
            if (checksum := held.checksums[place]) is not None and held.kinds[place] == self._kind
        }

    def forget_all(self, owners: Iterable[int]) -> None:
        """Do with each what `forget` does; nothing is to be done as a rule."""
        if self._sendings:
            for owner in owners:
                self.forget(owner)

    def forget(self, owner: int) -> None:
        """An object is through, or will not be finished."""
        if not self._sendings:  # nobody is asked for one whose only blob was small
            return
        with self._lock:
            self._sendings.pop(owner, None)
