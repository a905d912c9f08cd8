"""What moves the blobs of one job, one at a time, and counts the bytes as they pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ChecksumType
from ds3tool.transport.shapes import AnswerHead


class Mover(Protocol):
    """Moves the blobs of one job; told by their numbers in the job's state. Called from several threads."""

    method: str

    def move(self, number: int, counter: Callable[[int], None]) -> str | None:
        """Move one blob carefully, with retries; return its digest in base64 (None where there is none).

        `counter` is told the bytes as they pass. Raises a Ds3Error when the blob cannot be moved.
        """
        ...

    def small_request(self, number: int) -> bytes | None:
        """Return a whole signed request for a small blob; a Ds3Error when its source cannot be read.

        None for a blob that must not go this way, since much has to be done before: it is moved carefully.
        """
        ...

    def small_requests(self, numbers: Iterable[int]) -> Sequence[bytes]:
        """Return requests for the first of these small blobs, for as many as nothing is unusual about, and can be held.

        Empty where `small_request` must look at the first. They are sent in this order, soon.
        """
        ...

    def small_answer(self, number: int, head: AnswerHead, body: memoryview) -> str | None:
        """Take the successful reply to it; return the digest. Raises a Ds3Error when the bytes are wrong."""
        ...

    def small_lost(self, number: int) -> None:
        """Nobody knows what became of a small blob's request: `move`, which is next, asks before it sends anything."""
        ...

    def checksum_kinds(self, numbers: Sequence[int]) -> Sequence[ChecksumType | None]:
        """Return the types of the digests that `move` or `small_answer` has returned for blobs."""
        ...

    @property
    def keeps_back(self) -> Callable[[int], bool] | None:
        """What says of a blob that was moved whether it must not be recorded as that yet; None where none is.

        For some, what they are part of is to be proved first.
        """
        ...

    def object_moved(self, owner: int) -> None:
        """All blobs of an object are through."""
        ...

    def objects_through(self, owners: Sequence[int]) -> None:
        """Do with each what `object_moved` does."""
        ...

    def object_failed(self, owner: int) -> None:
        """An object will not be finished, and no blob of it is on its way any more."""
        ...


@dataclass(frozen=True, slots=True)
class There:
    """A blob that is there without having been moved, and its digest in base64 where one is known for certain."""

    checksum: str | None


class Counter:
    """Bytes on their way of one worker; read by the progress display, written by its thread alone.

    `passed` counts every byte that went, those of repeated tries too; `count` never more than the blob has.
    """

    __slots__ = ("count", "most", "passed")

    def __init__(self) -> None:
        self.count = self.most = self.passed = 0

    def __call__(self, count: int) -> None:
        self.passed += count
        self.count = min(self.most, self.count + count)

    def start(self, length: int) -> None:
        self.count, self.most = 0, length
