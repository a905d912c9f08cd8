"""How far a blob of a get has come over all its tries, and whether what an answer carries goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field

from ds3tool.errors import ProtocolError
from ds3tool.jobs.beside import beside
from ds3tool.jobs.integrity import check_length, compare
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import names
from ds3tool.protocol.checksums import ExpectedChecksum, Hasher, new_hasher, to_base64
from ds3tool.protocol.messages import Response
from ds3tool.protocol.model import ChecksumType
from ds3tool.protocol.ranges import ByteRange, parse_content_range
from ds3tool.transport.pool import IncomingBody

# Digests that take longer than it takes to receive and to write the bytes. Source: measured, a lone blob comes in half
# the time when its MD5 is made beside; a CRC-32C costs less than handing the bytes on.
_SLOW = {ChecksumType.MD5, ChecksumType.SHA_256, ChecksumType.SHA_512}
_LEAST_BESIDE = 8 * 1024 * 1024


@dataclass(slots=True)
class Arrival:
    """The bytes of one blob, or the `wanted` ranges of it, as they come: in one answer, or in several that are joined.

    `blob` counts from the object's start; without `wanted` all of it comes. The first `done` bytes of what comes are
    stored, and `hasher` has seen just these; `expected` is what all of them must have, None where nothing tells (parts
    of a blob have no digest). Bytes of two answers are joined only when both state the same of the whole blob: then
    the digest decides, or where there is none, the object's ETag. One blob, one thread; only `done` is read by others.
    """

    key: str
    blob: ByteRange
    wanted: tuple[ByteRange, ...] = ()
    expected: ExpectedChecksum | None = None
    done: int = 0
    hasher: Hasher | None = None
    # What an answer must state of the blob to be joined to what came before; None until one came.
    stated: tuple[ExpectedChecksum | None, str | None] | None = None
    carried: tuple[ByteRange, ...] = field(init=False)
    joinable: bool = True

    def __post_init__(self) -> None:
        """Begin with what was asked for."""
        self.carried = self.wanted or (self.blob,)

    @property
    def length(self) -> int:
        """Bytes that come in all."""
        return sum(one.length for one in self.carried)

    @property
    def left(self) -> tuple[ByteRange, ...]:
        """What is still to come, one after the other."""
        skip, left = self.done, []
        for one in self.carried:
            if skip < one.length:
                left.append(ByteRange(one.start + skip, one.end))
            skip = max(0, skip - one.length)
        return tuple(left)

    def to_ask(self) -> tuple[ByteRange, ...]:
        """Return the ranges that the next request names; none when it asks for the whole blob."""
        if self.done and not (self.joinable and self.left):
            self.start_over()
        return self.left if self.done else self.wanted

    def start_over(self) -> None:
        """Forget what came: the next answer is the first."""
        self.done, self.hasher, self.expected, self.stated = 0, None, None, None
        self.carried = self.wanted or (self.blob,)

    def take_up(self, done: int, hasher: Hasher, expected: ExpectedChecksum) -> None:
        """Go on where an earlier run ended: the first `done` bytes are stored, and `hasher` has seen just these."""
        self.done, self.hasher, self.expected = done, hasher, expected

    def whole_blob(self) -> None:
        """Forget what came, and ask for the whole blob from now on."""
        self.wanted = ()
        self.start_over()

    def answered(self, response: Response, expected: ExpectedChecksum | None) -> None:
        """Take the head of an answer, and what the bytes of the whole blob must have by it.

        Afterwards its body is `left`. ProtocolError when it is neither what was asked for nor the whole blob, or not
        of the same bytes as what came before; nothing of it must be stored then.
        """
        stated = (expected, response.headers.get("etag"))
        asked = self.to_ask()
        try:
            carried = _carried(self.key, self.blob, response, asked)
            if self.done and carried == asked and self._belongs(stated):
                return
            if self.done and carried != (self.blob,):
                raise ProtocolError(f"{self.key}: the rest of a blob is not of the same bytes as its beginning")
        except ProtocolError:
            if self.done:
                self.joinable = False
                self.start_over()
            raise
        self.start_over()
        self.carried, self.stated = carried, stated
        # The digest is the whole blob's, also beside a part of it.
        self.expected = expected if carried == (self.blob,) else None
        self.hasher = None if self.expected is None else new_hasher(self.expected.type)

    def _belongs(self, stated: tuple[ExpectedChecksum | None, str | None]) -> bool:
        """Whether an answer that states this is of the same bytes as what came before, as far as anybody can tell."""
        if self.expected is not None:
            return stated[0] == self.expected
        return stated == self.stated and stated != (None, None)

    def took(self, data: bytes | bytearray | memoryview) -> None:
        """Note that these bytes, the next to come, are stored."""
        if self.hasher is not None:
            self.hasher.update(data)
        self.done += len(data)

    @contextmanager
    def taking(self) -> Iterator[Callable[[bytes | memoryview], None]]:
        """Give what does as `took`, for as long as one answer is read; a slow digest is made beside that.

        The hasher has seen all that was given when the block is left.
        """
        hasher = self.hasher
        slow = self.expected is not None and self.expected.type in _SLOW
        if hasher is None or not slow or self.length - self.done < _LEAST_BESIDE:
            yield self.took
            return
        with beside(hasher.update) as hand_on:

            def took(data: bytes | memoryview) -> None:
                hand_on(bytes(data))  # what is no bytes may be overwritten before the thread comes to it
                self.done += len(data)

            yield took

    def check_room(self, count: int) -> None:
        """Raise ProtocolError when `count` more bytes are more than are to come; asked before they are stored."""
        if self.done + count > self.length:
            raise ProtocolError(f"{self.key}: the appliance sent more than {self.length} bytes for a blob")

    def verified(self) -> str | None:
        """Return the digest of what came, None when there is none to hold it against.

        ProtocolError when bytes are missing, ChecksumError when they are not what was expected.
        """
        check_length(self.key, came=self.done, length=self.length)
        if self.hasher is None or self.expected is None:
            return None
        actual = to_base64(self.hasher.digest())
        compare(self.key, self.blob.start, expected=self.expected.value, actual=actual)
        return actual


def _carried(key: str, blob: ByteRange, response: Response, asked: Sequence[ByteRange]) -> tuple[ByteRange, ...]:
    """Return which ranges of the object a reply's body is, one after the other.

    The whole blob, whatever was asked, when the reply says 200; what was asked when it says 206 and names just that.
    Raises ProtocolError for anything else, before a byte of it is taken.
    """
    carried: tuple[ByteRange, ...] = (blob,)
    if response.status == 206:
        if not asked:
            raise ProtocolError(f"{key}: the appliance sent a part (206), and the whole blob was asked for")
        carried = tuple(asked)
        stated = response.headers.get(names.CONTENT_RANGE)
        if stated is None:
            raise ProtocolError(f"{key}: the appliance sent a part (206), and does not say which")
        ranges, _ = parse_content_range(stated)
        if ranges != carried:
            raise ProtocolError(f"{key}: the appliance sent {stated[:80]}, which is not what was asked for")
    body = response.body
    if isinstance(body, IncomingBody) and body.length is not None:
        wanted = sum(one.length for one in carried)
        if body.length != wanted:
            raise ProtocolError(f"{key}: the appliance sent {body.length} bytes, and {wanted} were to come")
    return carried
