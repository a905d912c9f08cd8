"""Which bytes of a blob an object in ranges wants, where they go, and how a body is cut into them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence

from ds3tool.errors import ChecksumError
from ds3tool.jobs.arrival import Arrival
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.ranges import ByteRange, coalesce, trim

# A request that names more ranges than this asks for the whole blob instead: a header has a bound as well.
_MOST_RANGES = 100


@dataclass(frozen=True, slots=True)
class Piece:
    """The bytes `source` of an object, counted from its start, which stand from byte `target` on where it lands."""

    source: ByteRange
    target: int


def pieces_of(ranges: Sequence[ByteRange], blob: ByteRange) -> tuple[Piece, ...]:
    """Return what `blob` gives to `ranges`, which land one after the other in their order; sorted by `target`.

    A byte that several ranges want is in several pieces.
    """
    pieces: list[Piece] = []
    target = 0
    for one in ranges:
        part = trim(one, blob)
        if part is not None:
            pieces.append(Piece(part, target + part.start - one.start))
        target += one.length
    return tuple(pieces)


def ranges_to_ask(pieces: Sequence[Piece], blob: ByteRange) -> tuple[ByteRange, ...]:
    """Return the ranges that a request for `pieces` names: each byte once; none when the whole blob is the answer."""
    asked = coalesce(piece.source for piece in pieces)
    if not asked or asked == (blob,) or len(asked) > _MOST_RANGES:
        return ()
    return asked


def covered(ranges: Iterable[ByteRange], blobs: Iterable[ByteRange]) -> bool:
    """Whether the bytes of `ranges` are all in `blobs`, of which no two have a byte in common."""
    ordered = sorted(blobs)
    if any(before.end > after.start for before, after in itertools.pairwise(ordered)):
        return False
    joined = coalesce(ordered)
    return all(any(whole.start <= one.start and one.end <= whole.end for whole in joined) for one in ranges)


class Cutter:
    """Takes the body of a reply and hands its pieces to `store`, which is given the place of each and its bytes.

    `sequential`: what `store` took once cannot be given again; then a body that comes a second time, after the first
    broke off, is held against what was handed on, and goes on behind it. One blob, one thread.
    """

    def __init__(
        self, pieces: Sequence[Piece], store: Callable[[int, memoryview], None], *, key: str, sequential: bool
    ) -> None:
        self._pieces = pieces
        self._store = store
        self._key = key
        self._sequential = sequential
        self._given = 0
        self._digest = hashlib.blake2b()
        self._again = 0
        self._digest_again = hashlib.blake2b()

    def cut(self, blocks: Iterable[bytes], arrival: Arrival, counter: Callable[[int], None]) -> str | None:
        """Take a body that is what is left of `arrival`, to its end; return the digest of all that came, if any.

        Raises ProtocolError when it is shorter or longer, ChecksumError when it is not what it should be, or not what
        came before.
        """
        if not arrival.done:
            self._again, self._digest_again = 0, hashlib.blake2b()
        left = list(reversed(arrival.left))
        for block in blocks:
            arrival.check_room(len(block))
            view = memoryview(block)
            while view:
                one = left.pop()
                here = ByteRange(one.start, min(one.end, one.start + len(view)))
                if here.end < one.end:
                    left.append(ByteRange(here.end, one.end))
                piece, view = view[: here.length], view[here.length :]
                self._hand_on(here, piece)
                arrival.took(piece)
                counter(here.length)
        return arrival.verified()

    def _hand_on(self, here: ByteRange, view: memoryview) -> None:
        for piece in self._pieces:
            part = trim(piece.source, here)
            if part is None:
                continue
            data = view[part.start - here.start : part.end - here.start]
            self._give(piece.target + part.start - piece.source.start, data)

    def _give(self, target: int, data: memoryview) -> None:
        if not self._sequential:
            self._store(target, data)
            return
        known = min(len(data), self._given - self._again)
        self._digest_again.update(data[:known])
        self._again += known
        if known and self._again == self._given and self._digest_again.digest() != self._digest.digest():
            raise ChecksumError(
                f"{self._key}: what came first, and was handed on, is not what came when it was fetched again",
                key=self._key,
                offset=self._pieces[0].source.start,
                expected=self._digest_again.hexdigest(),
                actual=self._digest.hexdigest(),
                hint="what was read from this run is damaged; run the command again",
            )
        rest = data[known:]
        if rest:
            self._store(target + known, rest)
            self._digest.update(rest)
            self._given += len(rest)
            self._again, self._digest_again = self._given, self._digest.copy()
