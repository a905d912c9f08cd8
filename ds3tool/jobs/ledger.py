"""What this host has recorded of one bucket's objects as it put them: the digests in all journals, found by key.

Held in memory are 8 bytes for each object of each journal, and of what was asked for last some blocks of keys and the
digests of a few plans, about 40 bytes a blob.
"""

from __future__ import annotations

import bisect
import functools
import json
import logging
import os
from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Generic, TypeVar

from ds3tool.errors import Ds3Error, PathNotFoundError
from ds3tool.jobs.journal_columns import MovedColumns, unpack_numbers, unpack_text, unpack_version
from ds3tool.jobs.journal_file import SUFFIX, EmptyJournalError, JournalFile
from ds3tool.jobs.journal_rows import BLOCK, moved_rows, read_block
from ds3tool.jobs.known_digests import KnownDigests
from ds3tool.jobs.state_folder import DONE, JOBS, StatePath
from ds3tool.jobs.work_head import read_head
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ChecksumType, JobStatus, JobType

_log = logging.getLogger(__name__)

_BLOCKS_HELD = 16
_WHOLES = "SELECT owner, kind, digest FROM digests WHERE plan = ?"
_PLANS_HELD = 4

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BucketLedger:
    """A `Ledger` of the bucket of that id, over the journals in a state folder.

    What was put last counts. Where it is not sure that it is what was recorded (some of its blobs are not, or the
    appliance knows it by another version), nothing is vouched for. Journals that cannot be read are left out; what is
    wrong with them is in `troubles`.
    """

    def __init__(self, state_folder: StatePath, bucket_id: str) -> None:
        self.troubles: list[Ds3Error] = []
        self._plans: list[_PutPlan] = []
        self._blocks: _Recent[tuple[int, int], tuple[list[str], array[int]]] = _Recent(_BLOCKS_HELD)
        self._digests: _Recent[int, _Digests] = _Recent(_PLANS_HELD)
        folder = os.path.join(os.fspath(state_folder), JOBS)
        paths = [*_journals(os.path.join(folder, DONE)), *_journals(folder)]
        for path in sorted(paths, key=os.path.basename, reverse=True):
            try:
                self._plans += _put_plans(path, bucket_id)
            except (PathNotFoundError, EmptyJournalError):
                pass  # it went away meanwhile, or never came to be
            except Ds3Error as error:
                self._is_trouble(error)
        self._plans.sort(key=lambda plan: plan.begun, reverse=True)

    @property
    def is_empty(self) -> bool:
        """Whether it knows of no object at all."""
        return not self._plans

    def digests_of(self, key: str, version_id: str | None) -> KnownDigests | None:
        """Return what was recorded of the object of that key and version as it was sent; None when that is not known.

        Without `version_id` what was put last is meant; with it, that is taken where no version was told then.
        """
        perhaps: KnownDigests | None = None
        is_newest = True
        for number, plan in enumerate(self._plans):
            try:
                sent = self._sent(number, plan, key)
            except Ds3Error as error:
                self._is_trouble(error)
                return None
            if sent is None:
                continue
            if version_id is not None and sent.version_id == version_id:
                return sent.digests
            if version_id is None or (is_newest and sent.version_id is None):
                perhaps = None if plan.was_cancelled else sent.digests
            if version_id is None:
                break
            is_newest = False
        return perhaps

    def _sent(self, number: int, plan: _PutPlan, key: str) -> _Sent | None:
        for owner in plan.numbers_of(key):
            first = owner - owner % BLOCK
            keys, sizes = self._blocks.get((number, first), functools.partial(plan.block, first))
            if owner - first < len(keys) and keys[owner - first] == key:
                return self._digests.get(number, plan.digests).sent(owner, sizes[owner - first])
        return None

    def _is_trouble(self, error: Ds3Error) -> None:
        _log.warning("%s", error)
        self.troubles.append(error)


class _Recent(Generic[K, V]):
    """The last few things that were made, each by its key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K, make: Callable[[], V]) -> V:
        if key in self._held:
            self._held.move_to_end(key)
        else:
            while len(self._held) >= self._most:
                self._held.popitem(last=False)
            self._held[key] = make()
        return self._held[key]


@dataclass(slots=True)
class _PutPlan:
    """A plan of a put that has a job: where it is, and its keys' hashes, sorted, each with its object's number below.

    `begun` orders plans: when their work began, in seconds since 1970, and their number in it. Of a job that
    `was_cancelled` what was on no tape yet has gone, and what it was to replace may be there again.
    """

    path: str
    begun: tuple[float, int]
    was_cancelled: bool
    objects: int
    places: array[int]

    def numbers_of(self, key: str) -> Iterator[int]:
        """Yield the numbers of the objects that may have this key."""
        bits = self.objects.bit_length()
        wanted = _hashed(key, bits)
        place = bisect.bisect_left(self.places, wanted)
        while place < len(self.places) and self.places[place] >> bits == wanted >> bits:
            yield self.places[place] - wanted
            place += 1

    def block(self, first: int) -> tuple[list[str], array[int]]:
        """Return keys and sizes of the block of objects that begins with `first`."""
        with closing(_open(self.path)) as file:
            return read_block(file, self.begun[1], first)

    def digests(self) -> _Digests:
        """Return its blobs that are through."""
        with closing(_open(self.path)) as file:
            wholes: dict[int, dict[ChecksumType, str]] = {}
            for owner, kind, digest in file.rows(_WHOLES, (self.begun[1],)):
                wholes.setdefault(owner, {})[ChecksumType(kind)] = digest.decode()
            rows = (_Row(columns, count) for count, columns in moved_rows(file, self.begun[1]))
            return _Digests(rows, wholes)


def _open(path: str) -> JournalFile:
    """Open a journal that was there, and may have been put away since."""
    if not os.path.lexists(path):
        path = os.path.join(os.path.dirname(path), DONE, os.path.basename(path))
    return JournalFile.open(path, only_look=True)


def _hashed(key: str, bits: int) -> int:
    """Return a key's hash in the upper part of 64 bits, and zeros in the lower `bits`."""
    return (hash(key) & ((1 << (64 - bits)) - 1)) << bits


def _put_plans(path: str, bucket_id: str) -> list[_PutPlan]:
    """Return the plans of a journal that have put, or begun to put, anything into that bucket."""
    with closing(_open(path)) as file:
        head = read_head(file)
        if head.type != JobType.PUT or head.bucket_id != bucket_id:
            return []
        return [
            _PutPlan(
                path,
                (head.begun.timestamp(), number),
                status == JobStatus.CANCELED.value,
                objects,
                _places(file, number, objects),
            )
            for number, status, objects in file.rows(
                "SELECT number, status, objects FROM plans WHERE job_id IS NOT NULL"
            )
        ]


def _places(file: JournalFile, number: int, objects: int) -> array[int]:
    bits = objects.bit_length()
    places: list[int] = []
    for first in range(0, objects, BLOCK):
        keys, _ = read_block(file, number, first)
        places += [_hashed(key, bits) + owner for owner, key in enumerate(keys, first)]
    places.sort()
    return array("Q", places)


def _journals(folder: str) -> list[str]:
    try:
        return [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(SUFFIX)]
    except OSError:
        return []


# -- the blobs of one plan -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sent:
    """What was recorded of an object: its version, and its digests, None unless all of its blobs are through."""

    version_id: str | None
    digests: KnownDigests | None


class _Row:
    """Blobs of one row of a journal, unpacked one by one."""

    def __init__(self, columns: MovedColumns, count: int) -> None:
        owners, offsets, lengths, self._versions, kind, self._digests = columns
        self.owners = unpack_numbers(owners, count)
        self._offsets = None if offsets is None else unpack_numbers(offsets, count)
        self._lengths = unpack_numbers(lengths, count)
        self._kind = None if kind is None else ChecksumType(unpack_text(kind))
        self._width = len(self._digests) // max(count, 1)

    def cut(self, number: int) -> tuple[int, int]:
        """Return offset and length of a blob."""
        return 0 if self._offsets is None else self._offsets[number], self._lengths[number]

    def digest(self, number: int) -> tuple[ChecksumType | None, str | None]:
        """Return type and value of its digest."""
        if self._kind is None:
            kinds, values = json.loads(self._digests)
            return None if kinds[number] is None else ChecksumType(kinds[number]), values[number]
        start = number * self._width
        return self._kind, self._digests[start : start + self._width].decode()

    def version(self, number: int) -> str | None:
        """Return the version of its object, as far as it was told."""
        return None if self._versions is None else unpack_version(self._versions, len(self.owners), number)


class _Digests:
    """The blobs of one plan that are through, found by their object, and what is known of whole objects beside."""

    def __init__(self, rows: Iterable[_Row], wholes: Mapping[int, Mapping[ChecksumType, str]]) -> None:
        self._wholes = wholes
        self._rows: list[_Row] = []
        self._starts: array[int] = array("Q")
        self._owners: array[int] = array("I")
        for row in rows:
            self._starts.append(len(self._owners))
            self._owners.extend(row.owners)
            self._rows.append(row)
        self._order = array("I", sorted(range(len(self._owners)), key=self._owners.__getitem__))

    def sent(self, owner: int, size: int) -> _Sent:
        """Return what is known of an object of that size; of a blob that came twice, what came last counts."""
        cuts: dict[int, int] = {}
        digests: dict[int, str] = {}
        kinds: set[ChecksumType | None] = set()
        version = None
        place = bisect.bisect_left(self._order, owner, key=self._owners.__getitem__)
        while place < len(self._order) and self._owners[self._order[place]] == owner:
            at = self._order[place]
            place += 1
            row_number = bisect.bisect_right(self._starts, at) - 1
            row, number = self._rows[row_number], at - self._starts[row_number]
            offset, length = row.cut(number)
            kind, digest = row.digest(number)
            version = row.version(number)
            cuts[offset] = length
            kinds.add(kind)
            if digest is not None:
                digests[offset] = digest
        known = _known(size, cuts, kinds, digests)
        if known is not None and owner in self._wholes:
            known = replace(known, stated=self._wholes[owner])
        return _Sent(version, known)


def _known(
    size: int, cuts: dict[int, int], kinds: set[ChecksumType | None], digests: dict[int, str]
) -> KnownDigests | None:
    """Return what is known of an object whose blobs, lengths by offset, are through: its size at least, if all are."""
    end = 0
    for offset in sorted(cuts):
        if offset != end:
            return None
        end += cuts[offset]
    if end != size or not cuts:
        return None
    if len(kinds) != 1 or digests.keys() != cuts.keys():
        return KnownDigests(size)
    return KnownDigests(size, kinds.pop(), digests)
