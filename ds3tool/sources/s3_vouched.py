"""What S3 states of an object's bytes, and what was read of them held against it, while they pass.

S3 states a digest of the whole (of a kind that the writer chose; an ETag that is an MD5 is one as well), or one of
the digests of the parts that the object was uploaded in. Blobs are read at the same time, each digested as it passes.
CRCs of pieces combine; other digests compare only where one reading takes the whole object, or part, in order.
"""

from __future__ import annotations

import binascii
import hashlib
import itertools
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from ds3tool.errors import SourceError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.checksums import Hasher, new_hasher, to_base64
from ds3tool.protocol.crc_combination import combined, combined_crc64nvme
from ds3tool.protocol.model import ChecksumType

# The kinds that S3 knows, the cheapest first. Source: its API reference, "Checking object integrity".
_KINDS = {"CRC64NVME": 8, "CRC32C": 4, "CRC32": 4, "SHA256": 32, "SHA1": 20, "MD5": 16}
# What both S3 and the appliance know.
_COMMON = {
    "CRC32C": ChecksumType.CRC_32C,
    "CRC32": ChecksumType.CRC_32,
    "SHA256": ChecksumType.SHA_256,
    "MD5": ChecksumType.MD5,
}
_CRCS = {"CRC32C": ChecksumType.CRC_32C, "CRC32": ChecksumType.CRC_32}
_CRC64 = "CRC64NVME"


# -- digests of S3's kinds --------------------------------------------------------------------------------------------


class _Crc64Nvme:
    """The CRC of 64 bits that S3 gives objects of which the writer chose nothing."""

    __slots__ = ("_crc", "_extend")

    def __init__(self) -> None:
        from awscrt.checksums import crc64nvme

        self._extend: Callable[[Any, int], int] = crc64nvme
        self._crc = 0

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        self._crc = self._extend(data if isinstance(data, bytes) else bytes(data), self._crc)

    def digest(self) -> bytes:
        return self._crc.to_bytes(8, "big")


def hasher_of(kind: str) -> Hasher:
    """Return a hasher of one of S3's kinds that has seen no bytes."""
    if kind == _CRC64:
        return _Crc64Nvme()
    if kind == "SHA1":
        return hashlib.sha1(usedforsecurity=False)
    return new_hasher(_COMMON[kind])


def _combined(kind: str, pieces: list[Piece]) -> bytes | None:
    """Return the digest of pieces in a row; None where it does not follow from theirs."""
    if len(pieces) == 1:
        return pieces[0].digest
    if kind in _CRCS:
        return combined(_CRCS[kind], [(piece.digest, piece.length) for piece in pieces])
    if kind == _CRC64:
        return combined_crc64nvme([(piece.digest, piece.length) for piece in pieces])
    return None


# -- what is stated ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stated:
    """What S3 states of an object: digests of the whole by kind, and digests of the parts' digests.

    `parts` is how many parts it was uploaded in, where that is known.
    """

    whole: Mapping[str, bytes] = field(default_factory=dict)
    of_parts: Mapping[str, bytes] = field(default_factory=dict)
    parts: int | None = None

    @property
    def common(self) -> dict[ChecksumType, str]:
        """The digests of the whole, in base64, of the types that the appliance knows too."""
        return {_COMMON[kind]: to_base64(digest) for kind, digest in self.whole.items() if kind in _COMMON}

    def check(self, *, in_one: bool, size: int, part_size: Callable[[], int | None]) -> Check | None:
        """Return what readings of the object are to be held against; None where nothing will do.

        `in_one`: one reading takes all of it. `part_size` asks how large its first part is.
        """
        for kind, digest in self.whole.items():
            if in_one or kind in _CRCS or kind == _CRC64:
                return Check(kind, digest, size)
        if self.parts is None or not self.of_parts:
            return None
        length = part_size()
        if not length or -(-size // length) != self.parts:
            return None  # parts of several sizes: nobody tells where they begin
        kind = min(self.of_parts, key=list(_KINDS).index)
        return Check(kind, self.of_parts[kind], length, of_parts=True)


def stated_of(reply: Mapping[str, Any], *, bucket: str = "") -> Stated:
    """Return what the reply to a HEAD, or to a GET of the whole, states; what is malformed counts as not said."""
    whole: dict[str, bytes] = {}
    of_parts: dict[str, bytes] = {}
    etag = str(reply.get("ETag", "")).strip('"')
    match = re.fullmatch(r"([0-9a-fA-F]{32})(?:-([1-9][0-9]{0,4}))?", etag)
    parts = None if match is None or match[2] is None else int(match[2])
    for kind, length in _KINDS.items():
        text, dash, count = str(reply.get(f"Checksum{kind}") or "").partition("-")
        digest = _decoded(text, length)
        if digest is None:
            continue
        if dash and count.isdecimal():
            of_parts[kind], parts = digest, int(count)
        elif reply.get("ChecksumType") == "COMPOSITE" or (reply.get("ChecksumType") is None and parts is not None):
            of_parts[kind] = digest
        else:
            whole[kind] = digest
    # With a key of a customer's own, or in a directory bucket, the ETag is something else.
    keyed = str(reply.get("ServerSideEncryption", "")).startswith("aws:kms") or reply.get("SSECustomerAlgorithm")
    if match is not None and not keyed and not bucket.endswith("--x-s3"):
        (whole if match[2] is None else of_parts)["MD5"] = bytes.fromhex(match[1])
    return Stated(whole, of_parts, parts)


def _decoded(text: str, length: int) -> bytes | None:
    try:
        digest = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    return digest if len(digest) == length else None


# -- what was read ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Check:
    """One digest to hold readings against: of the whole, or `of_parts` of `cut` bytes each."""

    kind: str
    digest: bytes
    cut: int
    of_parts: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """The digest of bytes in a row."""

    offset: int
    length: int
    digest: bytes


class Reading:
    """Digests the bytes of one range, in order; ends a piece wherever a part of the object does."""

    def __init__(self, check: Check, offset: int) -> None:
        self.offset = self._start = self._at = offset
        self._check = check
        self._hasher = hasher_of(check.kind)
        self._pieces: list[Piece] = []

    def update(self, block: bytes) -> None:
        """Take more bytes."""
        view = memoryview(block)
        while view:
            room = self._check.cut - self._at % self._check.cut
            taken = view[:room]
            self._hasher.update(block if len(taken) == len(block) else taken)
            self._at += len(taken)
            view = view[len(taken) :]
            if not self._at % self._check.cut:
                self._end_piece()

    def _end_piece(self) -> None:
        if self._at > self._start or not self._at:
            self._pieces.append(Piece(self._start, self._at - self._start, self._hasher.digest()))
            self._start, self._hasher = self._at, hasher_of(self._check.kind)

    def pieces(self) -> list[Piece]:
        """Return what was digested; nothing more is taken."""
        self._end_piece()
        return self._pieces


class Comparison:
    """Holds all that is read of one object against what S3 states of it. Safe for several threads.

    Memory: a digest for each reading, or for each part of the object. `is_cut` is asked when the parts seem to differ:
    whether the parts are where their number and the size of the first let one think. Where not, nothing compares.
    """

    def __init__(
        self, shown: str, size: int, check: Check | None, *, is_cut: Callable[[], bool] = lambda: True
    ) -> None:
        self._shown = shown
        self._size = size
        self._check = check
        self._is_cut = is_cut
        self._lock = threading.Lock()
        self._pieces: dict[int, Piece] = {}
        # Whether all of the object was read and is what S3 states.
        self.held = not size

    def begin(self, offset: int) -> Reading | None:
        """Return what digests a reading from `offset`; None where there is nothing to hold it against."""
        return None if self._check is None else Reading(self._check, offset)

    def end(self, reading: Reading) -> None:
        """Take a reading that is through; when it was the last of the object, hold all of them against what is stated.

        Raises SourceError, naming both digests, where they differ: before the reading's last bytes are passed on.
        """
        pieces = reading.pieces()
        with self._lock:
            end = pieces[-1].offset + pieces[-1].length if pieces else reading.offset
            for piece in list(self._pieces.values()):  # what is read once more counts as it was read last
                if piece.offset < end and piece.offset + piece.length > reading.offset:
                    del self._pieces[piece.offset]
            self._pieces.update((piece.offset, piece) for piece in pieces)
            digest = self._digest()
        check = self._check
        if digest is None or check is None:
            return
        if digest != check.digest and check.of_parts and not self._is_cut():
            self._check = None
            return
        if digest != check.digest:
            raise SourceError(
                f"{self._shown} came from S3 with other bytes than it states: their {check.kind} is "
                f"{to_base64(digest)}, not {to_base64(check.digest)}",
                hint="put it again; if it happens again, suspect the network, this host's memory or the object in S3",
            )
        self.held = True

    def _digest(self) -> bytes | None:
        """Return the digest of the whole object, or of its parts' digests; None where that is not known (yet)."""
        check, pieces = self._check, [self._pieces[offset] for offset in sorted(self._pieces)]
        end = 0
        for piece in pieces:
            if piece.offset != end:
                return None
            end += piece.length
        if check is None or end != self._size:
            return None
        if not check.of_parts:
            return _combined(check.kind, pieces)
        hasher = hasher_of(check.kind)
        for _, of_part in itertools.groupby(pieces, lambda piece: piece.offset // check.cut):
            part = _combined(check.kind, list(of_part))
            if part is None:
                return None
            hasher.update(part)
        return hasher.digest()
