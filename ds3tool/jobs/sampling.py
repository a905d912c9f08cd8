"""A random share of many objects, drawn in one pass: the same seed and the same objects draw the same sample.

Each key has a rank, a number that is made of the seed and of the key by hashing; drawn are those of the lowest ranks.
So neither the order of a listing nor what is beside an object in it decides about that object.
"""

from __future__ import annotations

import hashlib
import heapq
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import field

from ds3tool.errors import UsageError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ListedObject
from ds3tool.sizes import quoted

_RANKS = 1 << 64


def new_seed() -> int:
    """Return a seed that nobody can foresee; short enough to be typed again."""
    return secrets.randbelow(1 << 32)


def parse_share(text: str) -> float:
    """Return the share that `1%` or `0.25%` means, as a number up to 1; UsageError for none of the whole, or more."""
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,9})?) ?%", text.strip())
    share = 0.0 if match is None else float(match[1]) / 100
    if not 0 < share <= 1:
        raise UsageError(f"{quoted(text)} is not a share of something", hint="write it like 1%, 0.25% or 100%")
    return share


@dataclass(slots=True)
class Sample:
    """What is drawn: of `share` of all objects, the `count` of lowest rank, as long as they have `bytes` in all.

    What is None does not limit. Where there is any object, one is drawn, however small the share and however large that
    object. The share is met as a throw of dice meets it: each object has that chance.

    `objects` and `total` (bytes) count what was drawn from, and are whole once `of` is through; `incomplete` counts
    the objects that are left out since they are not archived yet.
    """

    seed: int
    share: float | None = None
    count: int | None = None
    bytes: int | None = None
    objects: int = field(default=0, init=False)
    total: int = field(default=0, init=False)
    incomplete: int = field(default=0, init=False)

    def rank(self, key: str) -> int:
        """Return the rank of a key, below 2 to the 64."""
        data = key.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(data, digest_size=8, key=str(self.seed).encode()).digest())

    def of(self, listed: Iterable[ListedObject]) -> Iterator[ListedObject]:
        """Yield what is drawn, in the order of the listing. Memory: what is drawn, or one object for a mere share."""
        below = _RANKS if self.share is None else int(self.share * _RANKS)
        if self.count is None and self.bytes is None:
            yield from self._share_of(listed, below)
        else:
            yield from self._lowest_of(listed, below)

    def _lowest_of(self, listed: Iterable[ListedObject], below: int) -> Iterator[ListedObject]:
        held: list[tuple[int, int, ListedObject]] = []  # a heap whose first has the highest rank: minus rank, place
        size, refused = 0, _RANKS  # the lowest rank of what was held once, and found no place beside lower ones
        for place, (rank, one) in enumerate(self._ranked(listed)):
            if rank >= refused:
                continue
            heapq.heappush(held, (-rank, place, one))
            size += one.size
            while len(held) > 1 and (
                -held[0][0] >= below
                or (self.count is not None and len(held) > self.count)
                or (self.bytes is not None and size > self.bytes)
            ):
                highest, _, dropped = heapq.heappop(held)
                refused = -highest
                size -= dropped.size
        yield from (one for _, _, one in sorted(held, key=lambda each: each[1]))

    def _share_of(self, listed: Iterable[ListedObject], below: int) -> Iterator[ListedObject]:
        nearest: tuple[int, ListedObject] | None = None
        drawn = False
        for rank, one in self._ranked(listed):
            if rank < below:
                drawn = True
                yield one
            elif not drawn and (nearest is None or rank < nearest[0]):
                nearest = (rank, one)
        if not drawn and nearest is not None:
            yield nearest[1]

    def _ranked(self, listed: Iterable[ListedObject]) -> Iterator[tuple[int, ListedObject]]:
        for one in listed:
            if one.last_modified is None:
                self.incomplete += 1
                continue
            self.objects += 1
            self.total += one.size
            yield self.rank(one.key), one
