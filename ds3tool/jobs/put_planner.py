"""What becomes of the objects of a put whose keys are taken: one listing, and the `--if-exists` rule."""

from __future__ import annotations

import functools
import os
import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Protocol, runtime_checkable

from ds3tool.client import Ds3Client
from ds3tool.errors import Ds3Error, FarSideDeniedError, FarSideUnreachableError, SourceError, UsageError
from ds3tool.jobs.distant_ends import ArchivingSource, StatedObject
from ds3tool.jobs.ends import Source, SourceObject
from ds3tool.jobs.existing import IfExists, numbered_name
from ds3tool.jobs.integrity import digest_range, has_digests, md5_of_etag
from ds3tool.jobs.plan import PlannedJob
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ChecksumType, DataPolicy, ListedObject, Versioning

# What S3 allows, in UTF-8; no public source says whether the appliance would take more, and one key that it refuses
# refuses its whole job.
MAX_KEY_BYTES = 1024
_LONGEST_CHARACTER = 4
# Up to so many keys are asked for one by one where the listing of what they have in common has more than a page.
_FEW = 10
_NUMBERED = re.compile(r"(.+)~([0-9]{1,9})(\.[^.]*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SettledPlan:
    """What is left to put of a plan. `replaced`, by key: what must be deleted before its successor can be put."""

    plan: PlannedJob
    replaced: Mapping[str, ListedObject]


def check_rule(rule: IfExists, policy: DataPolicy, *, may_delete: bool) -> None:
    """Raise UsageError when a bucket's data policy does not admit the rule, or it would delete without leave."""
    if policy.versioning != Versioning.NONE:
        return
    if rule is IfExists.VERSION:
        raise UsageError(
            f"--if-exists version needs a bucket that keeps versions, and the data policy {policy.name!r} keeps none",
            hint="use overwrite or rename, or a bucket whose data policy keeps versions",
        )
    if rule is IfExists.OVERWRITE and not may_delete:
        raise UsageError(
            f"the data policy {policy.name!r} keeps no versions: to overwrite, the old object must be deleted before "
            "the new one is put",
            hint="say that this is meant: --yes",
        )


@runtime_checkable
class PlacedSource(Protocol):
    """A source whose objects lie where a person can look: files."""

    def place(self, name: bytes) -> str:
        """Return the path of the object that the source knows by `name`."""
        ...


def _place(source: Source, name: bytes) -> str:
    return source.place(name) if isinstance(source, PlacedSource) else os.fsdecode(name)


class PutPlanner:
    """Settles plan after plan of one run: keys that come twice, keys that no object can have, keys that are taken.

    `fail` is told each object that is not to be put. Memory: the taken keys of one plan, and 8 bytes for each object
    of the plans before.
    """

    def __init__(
        self,
        client: Ds3Client,
        source: Source,
        bucket: str,
        *,
        rule: IfExists,
        policy: DataPolicy,
        fail: Callable[[str, Ds3Error], None],
    ) -> None:
        self._client = client
        self._source = source
        self._bucket = bucket
        self._rule = rule
        self._policy = policy
        self._fail = fail
        self._earlier = _KeysBefore()
        self._last_keys: list[str] = []
        # Names of plans without a key that comes twice, or came before.
        self._distinct: set[str] = set()
        self.skipped = 0
        self.same_by_time = 0
        self.notes: list[str] = []

    def settle(self, plan: PlannedJob, *, again: bool = False) -> SettledPlan:
        """Return what is left to put of `plan`, the next one of the run; `again`: its keys are those of one before."""
        numbers = self._usable(plan, again=again)
        keys = plan.keys if len(numbers) == len(plan) else [plan.keys[number] for number in numbers]
        settled = _Settled()
        for place, listed in self._existing(keys):
            item = plan.source_object(numbers[place])
            try:
                self._decide(item, listed, settled)
            except (FarSideDeniedError, FarSideUnreachableError):
                raise  # it is no fault of this object
            except Ds3Error as error:
                settled.left_out.add(listed.key)
                self._fail(listed.key, error)
        self._leave_archived(plan, numbers, settled)
        self.skipped += settled.skipped
        if len(numbers) == len(plan) and not settled:
            return SettledPlan(plan, {})
        names = self._free_names(settled.renamed, keys)
        kept = plan.keep([number for number in numbers if plan.keys[number] not in settled.left_out])
        for number, key in enumerate(kept.keys):
            if key in names:
                kept.keys[number] = names[key]
                self.notes.append(f"{key} is in the bucket already, and is not the same: put as {names[key]}")
        self._last_keys = [*keys, *names.values()]
        return SettledPlan(kept, settled.replaced)

    # -- keys ------------------------------------------------------------------------------------------------------

    def without_repeated(self, plans: Iterable[PlannedJob]) -> Iterator[PlannedJob]:
        """Yield plans without those of several objects of one key that are not the first of all; `fail` is told them.

        For plans that are kept before any is settled: whoever resumes them may not see again what came before.
        Memory: 8 bytes for each object.
        """
        before = _KeysBefore()
        for plan in plans:
            kept = _first_of_each(plan.keys, before, functools.partial(self._fail_repeated, plan))
            before.add(plan.keys)
            self._distinct.add(plan.name)
            if len(kept) == len(plan):
                yield plan
            elif kept:
                yield plan.keep(kept)

    def _fail_repeated(self, plan: PlannedJob, number: int) -> None:
        key = plan.keys[number]
        self._fail(
            key,
            SourceError(
                f"{key} comes twice in this run, the second time from "
                + _place(self._source, plan.source_names[number]),
                hint="only the first was taken; put the other under another prefix",
            ),
        )

    def take(self, plan: PlannedJob) -> None:
        """Know the keys of a plan that need not be settled, since its job is there, for those that follow it."""
        if self._last_keys:
            self._earlier.add(self._last_keys)
        self._last_keys = plan.keys

    def _usable(self, plan: PlannedJob, *, again: bool) -> Sequence[int]:
        """Return the numbers of objects whose keys can be put; of several objects of one key only the first."""
        self.take(plan)
        earlier = _KeysBefore() if again else self._earlier
        numbers: Sequence[int] = range(len(plan))
        if plan.name not in self._distinct:
            numbers = _first_of_each(plan.keys, earlier, functools.partial(self._fail_repeated, plan))
        if max(map(len, plan.keys), default=0) * _LONGEST_CHARACTER <= MAX_KEY_BYTES:
            return numbers
        fitting = []
        for number in numbers:
            key = plan.keys[number]
            if len(key.encode("utf-8", "surrogatepass")) <= MAX_KEY_BYTES:
                fitting.append(number)
            else:
                self._fail(key, SourceError(f"{key} is longer than the {MAX_KEY_BYTES} bytes that a key can have"))
        return fitting

    # -- what is there ---------------------------------------------------------------------------------------------

    def _existing(self, keys: list[str]) -> list[tuple[int, ListedObject]]:
        """Return what the bucket has of these keys, which are all different, and their places: by one listing."""
        found = list(self._listed(keys)) if keys else []
        found.sort(key=itemgetter(0))
        return found

    def _listed(self, keys: list[str]) -> Iterator[tuple[int, ListedObject]]:
        common = _common_start(keys)
        places: dict[str, int] = {}
        found: set[int] = set()
        if len(keys) > 1:
            for page in self._client.listing_pages(self._bucket, prefix=common):
                if page.objects and not places:  # as a rule nothing is there
                    places = dict(zip(keys, range(len(keys)), strict=True))
                for listed in page.objects:
                    place = places.get(listed.key)
                    if place is not None and place not in found:
                        found.add(place)
                        yield place, listed
                if page.truncated and len(keys) <= _FEW:
                    break
            else:
                return
        for place, key in enumerate(keys):
            if place not in found:
                # Of all keys that begin with this one, it comes first.
                first = next(self._client.list_objects(self._bucket, prefix=key, page_size=1), None)
                if first is not None and first.key == key:
                    yield place, first

    def _decide(self, item: SourceObject, listed: ListedObject, settled: _Settled) -> None:
        """Say what becomes of an object whose key is taken; a Ds3Error when it cannot be put."""
        rule, key = self._rule, item.key
        if rule is IfExists.FAIL:
            raise SourceError(f"{key} is in the bucket already", hint="with --if-exists fail nothing may be there")
        if listed.last_modified is None and (rule is not IfExists.RENAME or key.endswith("/")):
            raise SourceError(
                f"{key} is being put by another job",
                hint="if that was interrupted here: ds3tool resume; else wait for it, or cancel it: ds3tool job ls",
            )
        if rule is IfExists.SKIP or (listed.last_modified is not None and self._is_same(item, listed)):
            settled.skip(key)
        elif rule is IfExists.SKIP_SAME:
            raise SourceError(
                f"{key} is in the bucket already, and is not the same",
                hint="put it under another prefix, or say what is meant: --if-exists overwrite, version or rename",
            )
        elif rule is IfExists.RENAME:
            settled.renamed.append(key)
        elif self._policy.versioning == Versioning.NONE:
            settled.replaced[key] = listed

    def _leave_archived(self, plan: PlannedJob, numbers: Sequence[int], settled: _Settled) -> None:
        """Let fail what is to be put, and cannot be read now: what is there and the same need not be."""
        if not isinstance(self._source, ArchivingSource):
            return
        for number in numbers:
            key, error = plan.keys[number], None
            if key not in settled.left_out:
                error = self._source.unreadable(plan.source_object(number))
            if error is not None:
                settled.leave_out(key)
                self._fail(key, error)

    def _is_same(self, item: SourceObject, listed: ListedObject) -> bool:
        """Whether an existing object is what would be put: size, and digests where they are known, else time."""
        if listed.size != item.size or self._source.sequential:
            return False
        if not item.size:
            return True
        md5 = md5_of_etag(listed.etag) if self._policy.checksum_type == ChecksumType.MD5 else None
        opened = self._source.open(item)
        try:
            same: bool | None
            if isinstance(opened, StatedObject):  # reading it would cost as much as putting it
                same = md5 is not None and opened.has_etag(listed.etag)
                same = same or opened.is_same(self._client.head_object(self._bucket, item.key))
            elif md5 is not None:
                same = digest_range(opened.read, 0, item.size, ChecksumType.MD5) == md5
            else:
                same = has_digests(self._client.head_object(self._bucket, item.key), opened.read, item.size)
            opened.check_unchanged()
        finally:
            opened.close()
        if same is None:
            same = listed.last_modified is not None and item.modified_ns / 1e9 <= listed.last_modified.timestamp()
            self.same_by_time += same
        return same

    # -- names that are free ---------------------------------------------------------------------------------------

    def _free_names(self, keys: Collection[str], planned: Iterable[str]) -> dict[str, str]:
        """Return for each key one like it that neither the bucket nor this plan has."""
        if not keys:
            return {}
        wanted = set(planned)
        taken: dict[str, set[int]] = {key: set() for key in keys}
        for listed in self._numbered(taken):
            for key, number in _unnumbered(listed.key):
                if key in taken:
                    taken[key].add(number)
        given: dict[str, str] = {}
        names: set[str] = set()
        for key, numbers in taken.items():
            number = 1
            while number in numbers or (name := numbered_name(key, number)) in wanted or name in names:
                number += 1
            names.add(name)
            given[key] = name
        return given

    def _numbered(self, keys: Mapping[str, object]) -> Iterator[ListedObject]:
        """Yield what the bucket has that may be a numbered name of one of these keys."""
        if not keys:
            return
        stems = [numbered_name(key, 0).rpartition("~")[0] + "~" for key in keys]
        if len(stems) > _FEW:
            stems = [_common_start(stems)]
        for stem in stems:
            yield from self._client.list_objects(self._bucket, prefix=stem)


class _Settled:
    """What a walk over the taken keys has found, by key."""

    def __init__(self) -> None:
        self.left_out: set[str] = set()
        self.skipped = 0
        self.renamed: list[str] = []
        self.replaced: dict[str, ListedObject] = {}

    def skip(self, key: str) -> None:
        """Leave an object out that need not be put."""
        self.left_out.add(key)
        self.skipped += 1

    def leave_out(self, key: str) -> None:
        """Leave an object out that cannot be put, whatever was to become of what has its key."""
        self.left_out.add(key)
        self.replaced.pop(key, None)
        if key in self.renamed:
            self.renamed.remove(key)

    def __bool__(self) -> bool:
        return bool(self.left_out or self.renamed or self.replaced)


class _KeysBefore:
    """Keys of plans that came before: 8 bytes each, their hashes, sorted once one is looked for."""

    def __init__(self) -> None:
        self._hashes: list[array[int]] = []
        self._is_sorted = True

    def add(self, keys: Iterable[str]) -> None:
        """Add the keys of a plan."""
        self._hashes.append(array("q", list(map(hash, keys))))
        self._is_sorted = False

    def has_any(self, keys: Iterable[str]) -> bool:
        """Whether one of these is among them."""
        wanted = set(map(hash, keys)) if self._hashes else set()
        return not all(map(wanted.isdisjoint, self._hashes))

    def __contains__(self, key: str) -> bool:
        if not self._is_sorted:
            self._hashes = [array("q", sorted(hashes)) for hashes in self._hashes]
            self._is_sorted = True
        number = hash(key)
        for hashes in self._hashes:
            at = bisect_left(hashes, number)
            if at < len(hashes) and hashes[at] == number:
                return True
        return False


def _first_of_each(keys: Sequence[str], before: _KeysBefore, again: Callable[[int], None]) -> Sequence[int]:
    """Return the numbers of keys that come for the first time; `again` is told those of the others."""
    if len(set(keys)) == len(keys) and not before.has_any(keys):
        return range(len(keys))
    seen: set[str] = set()
    first = []
    for number, key in enumerate(keys):
        if key in seen or key in before:
            again(number)
        else:
            seen.add(key)
            first.append(number)
    return first


def _unnumbered(name: str) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of which `numbered_name` makes `name`, if any."""
    folder, slash, last = name.rpartition("/")
    match = _NUMBERED.fullmatch(last)
    if match is not None:
        key, number = f"{folder}{slash}{match[1]}{match[3] or ''}", int(match[2])
        if numbered_name(key, number) == name:
            yield key, number


def _common_start(texts: Collection[str]) -> str:
    """Return what all of several texts begin with: what the first and the last of them in order do."""
    first, last = min(texts), max(texts)
    return next((first[:at] for at, letter in enumerate(first) if last[at : at + 1] != letter), first)
