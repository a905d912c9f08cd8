"""What somebody states of an object's bytes: the digest of each blob, and of the whole. Compared without the bytes.

The appliance states it (HEAD), the journal does (what was sent), and a person may have asked for one of the whole
object, which travels in its metadata. CRCs of blobs combine, so that objects cut in different ways compare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from enum import Enum

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import checksums
from ds3tool.protocol.crc_combination import COMBINABLE, combined
from ds3tool.protocol.model import ChecksumType, ObjectHead

# What is read at a time to make a digest of it. Source: measured (4 threads, CRC-32C): a sixth less CPU than 1 MiB, as
# a block is still in the core's own cache when it is digested.
READ_BYTES = 256 * 1024


class Held(Enum):
    """What came of holding bytes against digests."""

    # Nothing is stated that covers all of the bytes.
    UNKNOWN = "unknown"
    SAME = "same"
    # A blob of them has another digest.
    OTHER = "other"
    # Each blob has its digest, and the whole has not the one that is stated of it.
    OTHER_WHOLE = "other whole"


@dataclass(frozen=True, slots=True)
class KnownDigests:
    """The digests of an object of `size` bytes, in base64.

    `blobs`, of type `kind`, by offset are those of all of its blobs, of which each ends where the next begins, or of
    none. `stated` are digests of the whole object by their type, beside what follows from the blobs'.
    """

    size: int
    kind: ChecksumType | None = None
    blobs: Mapping[int, str] = field(default_factory=dict)
    stated: Mapping[ChecksumType, str] = field(default_factory=dict)

    @classmethod
    def of_head(cls, head: ObjectHead, offsets: Sequence[int] | None = None) -> KnownDigests:
        """Return what the appliance states, of the blobs and in the object's metadata.

        `offsets` are those of the blobs that it has, where that is known: unless all of their digests are stated, none
        counts, for nobody can tell where a blob ends whose next has none.
        """
        complete = offsets is None or sorted(offsets) == sorted(head.checksums)
        known = head.checksums if complete else {}
        return cls(head.size, head.checksum_type, known, checksums.from_metadata(head.metadata))

    @property
    def cuts(self) -> tuple[tuple[int, int], ...]:
        """Offset and length of each blob whose digest is known; none unless they make up the whole object."""
        offsets = sorted(self.blobs)
        if self.kind not in checksums.HEADER_NAMES or not offsets or offsets[0] or offsets[-1] > max(0, self.size - 1):
            return ()
        ends = [*offsets[1:], self.size]
        return tuple((offset, end - offset) for offset, end in zip(offsets, ends, strict=True))

    @property
    def from_blobs(self) -> tuple[ChecksumType, str] | None:
        """Type and digest of the whole object as the blobs' tell them: a CRC, or that of an only blob; else None."""
        cuts = self.cuts
        if self.kind is None or not cuts:
            return None
        if len(cuts) == 1:
            return self.kind, self.blobs[0]
        if self.kind not in COMBINABLE:
            return None
        parts = []
        for offset, length in cuts:
            digest = checksums.from_base64(self.kind, self.blobs[offset])
            if digest is None:
                return None
            parts.append((digest, length))
        return self.kind, checksums.to_base64(combined(self.kind, parts))

    @property
    def whole(self) -> dict[ChecksumType, str]:
        """Every digest of the whole object that is known; what follows from the blobs wins over what is stated."""
        told = self.from_blobs
        return dict(self.stated) if told is None else {**self.stated, told[0]: told[1]}

    def agrees_with(self, other: KnownDigests) -> bool | None:
        """Whether both are of the same bytes; None when they have nothing in common that tells.

        Sizes, the digests of blobs that are cut alike, and every type of digest of the whole that both know.
        """
        if self.size != other.size:
            return False
        if not self.size:
            return True
        told: list[bool] = []
        if self.kind == other.kind:
            mine, others = self.cuts, other.cuts
            common = set(mine) & set(others)
            told += [False for offset, _ in common if self.blobs[offset] != other.blobs[offset]]
            if mine and mine == others:
                told.append(True)
        whole, others_whole = self.whole, other.whole
        told += [whole[kind] == others_whole[kind] for kind in whole.keys() & others_whole.keys()]
        return all(told) if told else None

    def hold(self, read: Callable[[int, int], bytes], *, thorough: bool = False) -> Held:
        """Hold the bytes that `read(offset, length)` gives, exactly, against these digests; they are `size` bytes.

        What is stated of the whole counts where the blobs' digests are not known; if `thorough` in any case. Stops at
        the first blob that differs.
        """
        if not self.size:
            return Held.SAME
        cuts = self.cuts
        if not cuts and not self.stated:
            return Held.UNKNOWN
        hashers = {kind: checksums.new_hasher(kind) for kind in self.stated if thorough or not cuts}
        for offset, length in cuts or ((0, self.size),):
            blob = checksums.new_hasher(self.kind) if cuts and self.kind is not None else None
            for start in range(offset, offset + length, READ_BYTES):
                block = read(start, min(READ_BYTES, offset + length - start))
                for hasher in (*hashers.values(), *(() if blob is None else (blob,))):
                    hasher.update(block)
            if blob is not None and checksums.to_base64(blob.digest()) != self.blobs[offset]:
                return Held.OTHER
        if any(checksums.to_base64(hasher.digest()) != self.stated[kind] for kind, hasher in hashers.items()):
            return Held.OTHER_WHOLE if cuts else Held.OTHER
        return Held.SAME
