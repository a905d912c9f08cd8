"""What becomes of the objects of a put whose keys are taken: one listing, and the `--if-exists` rule."""

from __future__ import annotations

import os
import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ds3tool.client import Ds3Client
from ds3tool.errors import Ds3Error, FarSideDeniedError, FarSideUnreachableError, SourceError, UsageError
from ds3tool.jobs.distant_ends import ArchivingSource, StatedObject
from ds3tool.jobs.ends import Source, SourceObject
from ds3tool.jobs.existing import IfExists, numbered_name
from ds3tool.jobs.integrity import digest_range, has_digests, md5_of_etag
from ds3tool.jobs.plan import PlannedJob
from ds3tool.protocol.model import ChecksumType, DataPolicy, ListedObject, Versioning

# What S3 allows, in UTF-8; no public source says whether the appliance would take more, and one key that it refuses
# refuses its whole job.
MAX_KEY_BYTES = 1024
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
        self._earlier: list[array[int]] = []
        self._last_keys: list[str] = []
        self.skipped = 0
        self.same_by_time = 0
        self.notes: list[str] = []

    def settle(self, plan: PlannedJob, *, again: bool = False) -> SettledPlan:
        """Return what is left to put of `plan`, the next one of the run; `again`: its keys are those of one before."""
        wanted = self._usable(plan, again=again)
        settled, left_out = _Settled(), len(plan) - len(wanted)
        for listed in self._existing(wanted):
            item = plan.source_object(wanted[listed.key])
            try:
                self._decide(item, listed, settled)
            except (FarSideDeniedError, FarSideUnreachableError):
                raise  # it is no fault of this object
            except Ds3Error as error:
                settled.left_out.add(listed.key)
                self._fail(listed.key, error)
        self._leave_archived(plan, wanted, settled)
        self.skipped += settled.skipped
        if not (left_out or settled):
            return SettledPlan(plan, {})
        names = self._free_names(settled.renamed, wanted)
        kept = plan.keep([number for key, number in wanted.items() if key not in settled.left_out])
        for number, key in enumerate(kept.keys):
            if key in names:
                kept.keys[number] = names[key]
                self.notes.append(f"{key} is in the bucket already, and is not the same: put as {names[key]}")
        self._last_keys = [*wanted, *names.values()]
        return SettledPlan(kept, settled.replaced)

    # -- keys ------------------------------------------------------------------------------------------------------

    def without_repeated(self, plans: Iterable[PlannedJob]) -> Iterator[PlannedJob]:
        """Yield plans without those of several objects of one key that are not the first of all; `fail` is told them.

        For plans that are kept before any is settled: whoever resumes them may not see again what came before.
        Memory: 8 bytes for each object.
        """
        before: list[array[int]] = []
        for plan in plans:
            keys: set[str] = set()
            kept = []
            for number, key in enumerate(plan.keys):
                if key in keys or (before and _is_among(before, key)):
                    self._fail_repeated(plan, number)
                else:
                    keys.add(key)
                    kept.append(number)
            before.append(array("q", sorted(map(hash, keys))))
            if kept:
                yield plan if len(kept) == len(plan) else plan.keep(kept)

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
            self._earlier.append(array("q", sorted(map(hash, self._last_keys))))
        self._last_keys = plan.keys

    def _usable(self, plan: PlannedJob, *, again: bool) -> dict[str, int]:
        """Return the number of each key that can be put; of several objects of one key only the first."""
        self.take(plan)
        wanted: dict[str, int] = {}
        for number, key in enumerate(plan.keys):
            if key in wanted or (self._earlier and not again and _is_among(self._earlier, key)):
                self._fail_repeated(plan, number)
            elif len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
                self._fail(key, SourceError(f"{key} is longer than the {MAX_KEY_BYTES} bytes that a key can have"))
            else:
                wanted[key] = number
        return wanted

    # -- what is there ---------------------------------------------------------------------------------------------

    def _existing(self, wanted: Mapping[str, int]) -> list[ListedObject]:
        """Return what the bucket has of these keys, in the order they are planned: by one listing."""
        if not wanted:
            return []
        found = list(self._listed(wanted))
        found.sort(key=lambda listed: wanted[listed.key])
        return found

    def _listed(self, wanted: Mapping[str, int]) -> Iterator[ListedObject]:
        common = _common_start(wanted)
        found: set[str] = set()
        if len(wanted) > 1:
            for page in self._client.listing_pages(self._bucket, prefix=common):
                for listed in page.objects:
                    if listed.key in wanted and listed.key not in found:
                        found.add(listed.key)
                        yield listed
                if page.truncated and len(wanted) <= _FEW:
                    break
            else:
                return
        for key in wanted:
            if key not in found:
                # Of all keys that begin with this one, it comes first.
                first = next(self._client.list_objects(self._bucket, prefix=key, page_size=1), None)
                if first is not None and first.key == key:
                    yield first

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

    def _leave_archived(self, plan: PlannedJob, wanted: Mapping[str, int], settled: _Settled) -> None:
        """Let fail what is to be put, and cannot be read now: what is there and the same need not be."""
        if not isinstance(self._source, ArchivingSource):
            return
        for key, number in wanted.items():
            error = None
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

    def _free_names(self, keys: Iterable[str], wanted: Mapping[str, int]) -> dict[str, str]:
        """Return for each key one like it that neither the bucket nor this plan has."""
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


def _is_among(sorted_hashes: Iterable[array[int]], key: str) -> bool:
    number = hash(key)
    for hashes in sorted_hashes:
        at = bisect_left(hashes, number)
        if at < len(hashes) and hashes[at] == number:
            return True
    return False


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
