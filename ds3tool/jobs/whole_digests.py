"""The digest of a whole object beside those of its blobs, all of one read, before the first of its bytes is sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field

from ds3tool.jobs.known_digests import READ_BYTES
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.checksums import digest_of, new_hasher, to_base64, to_metadata
from ds3tool.protocol.model import ChecksumType


@dataclass(frozen=True, slots=True)
class ObjectDigests:
    """The digests, in base64, of one object: by offset those of its blobs, and what its metadata are to say."""

    blobs: dict[int, str]
    metadata: dict[str, str]


@dataclass(slots=True)
class _Reading:
    """One object that is read, or was; whoever holds `lock` reads it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    digests: ObjectDigests | None = None


class WholeDigests:
    """Reads each object of a put job once for the digest of all of it, of `kind`, and those of its blobs, of `blobs`.

    Since both come of the same bytes, what the appliance has accepted blob by blob is what the digest of the whole
    was made of, whatever became of the source meanwhile. Safe for several threads: one reads an object, and the others
    that send blobs of it wait. Memory: a digest for each blob of the objects under way, and 1 MiB a thread.
    """

    def __init__(self, kind: ChecksumType, blobs: ChecksumType) -> None:
        self._kind = kind
        self._blobs = blobs
        self._lock = threading.Lock()
        self._readings: dict[int, _Reading] = {}

    def is_needed(self, blobs: int) -> bool:
        """Whether an object of so many blobs needs one: not one whose only blob has the same digest."""
        return blobs > 1 or self._kind != self._blobs

    def of(
        self, owner: int, read: Callable[[int, int], bytes], cuts: Sequence[tuple[int, int]], size: int
    ) -> ObjectDigests:
        """Return the digests of the object of that number and size; `cuts` are offset and length of blobs, in order.

        All of the object is read, also where the job does not name all of its blobs. Raises what `read` raises; then
        the next one who asks reads anew.
        """
        with self._lock:
            reading = self._readings.setdefault(owner, _Reading())
        with reading.lock:
            if reading.digests is None:
                reading.digests = self._read(read, cuts, size)
            return reading.digests

    def metadata_of(self, data: bytes) -> dict[str, str]:
        """Return what the metadata are to say of an object of one blob, which is in memory."""
        return to_metadata(self._kind, to_base64(digest_of(self._kind, data))) if self.is_needed(1) else {}

    def forget(self, owner: int) -> None:
        """An object is through, or will not be finished."""
        with self._lock:
            self._readings.pop(owner, None)

    def _read(self, read: Callable[[int, int], bytes], cuts: Sequence[tuple[int, int]], size: int) -> ObjectDigests:
        whole = None if cuts == [(0, size)] and not self.is_needed(1) else new_hasher(self._kind)
        digests = {}
        for offset, length, is_blob in _without_gaps(cuts, size):
            blob = new_hasher(self._blobs) if is_blob else None
            for start in range(offset, offset + length, READ_BYTES):
                block = read(start, min(READ_BYTES, offset + length - start))
                for hasher in (blob, whole):
                    if hasher is not None:
                        hasher.update(block)
            if blob is not None:
                digests[offset] = to_base64(blob.digest())
        metadata = {} if whole is None else to_metadata(self._kind, to_base64(whole.digest()))
        return ObjectDigests(digests, metadata)


def _without_gaps(cuts: Sequence[tuple[int, int]], size: int) -> Iterator[tuple[int, int, bool]]:
    """Yield offset and length of parts that make up `size` bytes, in order, and whether each is one of `cuts`."""
    end = 0
    for offset, length in cuts:
        if offset > end:
            yield end, offset - end, False
        yield offset, length, True
        end = offset + length
    if end < size:
        yield end, size - end, False
