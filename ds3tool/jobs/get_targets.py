"""What of the objects asked for is to be fetched, and under which names: the `--if-exists` rules of a get."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Protocol, runtime_checkable

from ds3tool.client import Ds3Client
from ds3tool.errors import Ds3Error, ForbiddenError, JobError, NotFoundError, SinkError, UsageError
from ds3tool.jobs.ends import TARGET_LOST, Failure, KeyedSink, Sink, TargetObject
from ds3tool.jobs.existing import IfExists
from ds3tool.jobs.integrity import has_digests
from ds3tool.jobs.known_digests import KnownDigests
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.target_blocks import TargetBlock
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import escaped
from ds3tool.protocol.attributes import FileAttributes
from ds3tool.protocol.listed_columns import ListedColumns
from ds3tool.protocol.model import ListedObject
from ds3tool.protocol.ranges import ByteRange
from ds3tool.renaming import Renaming


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object to get: its key and its size in bytes.

    `version_id` is None for the latest version. With `ranges` only these bytes are wanted, one after the other in
    this order; each lies in the object. `complete` is False of an object that a job is still putting. `name` is its
    name at the target where that is settled; None leaves it to whoever names keys.
    """

    key: str
    size: int
    version_id: str | None = None
    ranges: tuple[ByteRange, ...] = ()
    complete: bool = True
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse ranges that are not in the object."""
        for one in self.ranges:
            if not one.length or one.end > self.size:
                raise UsageError(
                    f"{self.key} has {self.size} bytes, so {one.length} bytes from byte {one.start} on are not in it"
                )

    @classmethod
    def of(cls, listed: ListedObject) -> Wanted:
        """Return the latest version of what a listing tells of."""
        return cls(listed.key, listed.size, complete=listed.last_modified is not None)

    def target(self, name: str) -> TargetObject:
        """Return where this goes, under `name`."""
        size = sum(one.length for one in self.ranges) if self.ranges else self.size
        return TargetObject(self.key, size, name, self.version_id, self.ranges)


# What is known of the folders at a target is good for so many objects.
_LOOK_ANEW_AFTER = 1000
# So many objects that are not all ordinary are looked at one by one.
_FEW = 16


# What a get may be asked for: a listed object means its latest version, and some may come as columns; a failure is
# passed on by name.
Asked = Wanted | ListedObject | ListedColumns | Failure


def check_rule(if_exists: IfExists) -> None:
    """Raise UsageError for a rule that files at a target cannot follow."""
    if if_exists is IfExists.VERSION:
        raise UsageError(
            "what a get makes at its target has no versions", hint="use --if-exists rename, to keep both, or overwrite"
        )


@runtime_checkable
class FolderSink(Protocol):
    """A sink whose names stand in folders, which many of them may share."""

    def is_empty(self, folder: str) -> bool:
        """Whether a folder (empty for the target itself) is not there or has nothing in it; False where in doubt."""
        ...

    def are_plain(self, names: Sequence[str]) -> bool:
        """Whether one look shows that files can safely have all of these names; False where each is to be checked."""
        ...


class _EmptyFolders:
    """Which folders of a target are empty: asked once for a thousand objects, and not for one that stands alone.

    What is known is as old as the first of these objects, so a name may be taken meanwhile: whoever gives an object its
    name finds that, as it does whatever comes between the plan and that moment.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink if isinstance(sink, FolderSink) else None
        self._asked = 0
        # None for a folder of which one object was looked at by itself.
        self._known: dict[str, bool | None] = {}

    def hold(self, name: str) -> bool:
        """Whether nothing has a file's name, since its folder is empty; False where that is not known."""
        if self._sink is None or name.endswith("/"):
            return False
        self._asked += 1
        if self._asked > _LOOK_ANEW_AFTER:
            self.forget()
        folder = name.rpartition("/")[0]
        known = self._known.get(folder)
        if known is None:
            known = self._known[folder] = self._sink.is_empty(folder) if folder in self._known else None
        return known is True

    @property
    def know_folders(self) -> bool:
        """Whether the target has folders that can be looked into."""
        return self._sink is not None

    def hold_all(self, names: Sequence[str]) -> list[bool] | None:
        """Return for each of several names whether nothing has it, as `hold` does; None where not all are plain."""
        if self._sink is None or not self._sink.are_plain(names):
            return None
        held: list[bool] = []
        for folder, those in groupby([name.rpartition("/")[0] for name in names]):
            count = sum(1 for _ in those)
            if self._asked + count > _LOOK_ANEW_AFTER:
                self.forget()
            known = self._known.get(folder)
            if known is None and count > 1:
                known = self._known[folder] = self._sink.is_empty(folder)
            if known:
                self._asked += count
            held += [known is True] * count
        return held

    def forget(self) -> None:
        """Look at every folder anew."""
        self._asked = 0
        self._known.clear()


class Targets:
    """Decides object by object what becomes of it at the target; one use.

    `skipped` counts what is there already, `replaced_bytes` the sizes, by name, of files that are to make room;
    `notes` tells what has another name than its own.
    """

    def __init__(
        self,
        client: Ds3Client,
        sink: Sink,
        bucket: str,
        *,
        name_of: Callable[[str], str],
        if_exists: IfExists,
        fail: Callable[[Failure], None],
    ) -> None:
        check_rule(if_exists)
        self._client = client
        self._sink = sink
        self._sequential = sink.sequential
        self._empty = _EmptyFolders(sink)
        self._bucket = bucket
        self._name_of = name_of
        self._rule = if_exists
        self._fail = fail
        self._given: set[str] = set()
        # How often all was looked at anew.
        self._looks = 0
        self.skipped = 0
        self.notes: list[str] = []
        self.replaced_bytes: dict[str, int] = {}

    def of(self, objects: Iterable[Asked]) -> Iterator[TargetObject | TargetBlock]:
        """Yield what is to be fetched, in the order of `objects`; what cannot be is told to `fail`."""
        for one in objects:
            if isinstance(one, ListedColumns):
                yield from self._of_listed(one)
            elif isinstance(one, Failure):
                self._fail(one)
            else:
                yield from self._of_one(one)

    def _of_one(self, one: Wanted | ListedObject) -> Iterator[TargetObject]:
        try:
            item = self._target(one)
        except TARGET_LOST:
            raise
        except Ds3Error as error:
            self._fail(Failure(one.key, error))
            return
        if item is None:
            self.skipped += 1
        elif self._sequential:
            yield from _in_stream_order(item)
        else:
            yield item

    def _of_listed(self, listed: ListedColumns) -> Iterator[TargetObject | TargetBlock]:
        """Yield what is to be fetched of a page; of what is ordinary in it many at once."""
        names = self._plain_names(listed)
        held = None if names is None else self._empty.hold_all(names)
        if names is not None and held is not None:
            block = TargetBlock(listed.keys, listed.sizes, names)
            yield from self._of_block(block, held, lambda number: self._of_one(listed[number]))
        elif self._sequential or len(listed) <= _FEW or not self._empty.know_folders:
            for one in listed:
                yield from self._of_one(one)
        else:  # what is not ordinary is in one half, as a rule
            half = len(listed) // 2
            yield from self._of_listed(listed.cut(0, half))
            yield from self._of_listed(listed.cut(half, len(listed)))

    def look_again(self, block: TargetBlock) -> Iterator[TargetObject | TargetBlock]:
        """Yield what is to be fetched of a block that was looked at before something may have appeared."""
        held = self._empty.hold_all(block.names) if self._given.isdisjoint(block.names) else None

        def one_of(number: int) -> Iterator[TargetObject]:
            return self._of_one(Wanted(block.keys[number], block.sizes[number], name=block.names[number]))

        yield from self._of_block(block, held or [False] * len(block), one_of)

    def _of_block(
        self, block: TargetBlock, held: list[bool], one_of: Callable[[int], Iterator[TargetObject]]
    ) -> Iterator[TargetObject | TargetBlock]:
        """Yield what is `held` as blocks, and of the rest what `one_of` yields."""
        start, looks = 0, self._looks
        for is_held, those in groupby(held):
            end = start + sum(1 for _ in those)
            if is_held and looks == self._looks:
                yield block.cut(start, end)
            elif is_held:
                yield from self.look_again(block.cut(start, end))
            else:
                for number in range(start, end):
                    yield from one_of(number)
            start = end

    def _plain_names(self, listed: ListedColumns) -> list[str] | None:
        """Return the names at the target; None where some object is not complete, or a name takes more than a look."""
        name_of = self._name_of
        if self._sequential or not isinstance(name_of, Renaming):
            return None
        if None in listed.last_modified or escaped.may_some_be_escaped(listed.keys):
            return None
        names = name_of.of_all(listed.keys)
        return names if self._given.isdisjoint(names) else None

    def look_anew(self) -> None:
        """Something may have appeared at the target since the last object that was asked for."""
        self._empty.forget()
        self._looks += 1

    def _target(self, wanted: Wanted | ListedObject) -> TargetObject | None:
        """Return what is to be fetched, None when nothing is because of what is there."""
        item = self._named(wanted)
        self._sink.check_name(item.name)
        if item.name in self._given:  # by a renaming of this run, so that nothing of that name is there yet
            return self._renamed(item)
        if self._empty.hold(item.name):
            return item
        try:
            size = self._sink.existing_size(item.name)
        except SinkError:
            if self._rule is IfExists.RENAME:
                return self._renamed(item)
            if self._rule is IfExists.SKIP and self._sink.free_name(item.name) != item.name:
                return None  # of whatever kind it is
            raise
        return item if size is None else self._beside(item, size)

    def _named(self, wanted: Wanted | ListedObject) -> TargetObject:
        """Return an object under its name at the target; JobError for one that is not complete."""
        if isinstance(wanted, ListedObject):  # its latest version, and all of it
            if wanted.last_modified is not None:
                return TargetObject(wanted.key, wanted.size, self._real_name(wanted.key, None))
        elif wanted.complete:
            name = self._real_name(wanted.key, wanted.version_id) if wanted.name is None else wanted.name
            return wanted.target(name)
        raise JobError(f"{wanted.key} is not complete: a job is still putting it")

    def _real_name(self, key: str, version_id: str | None) -> str:
        """Return the name at the target; of an escaped key the real one, where its metadata vouch for it."""
        name = self._name_of(key)
        if self._sequential or not escaped.may_be_escaped(key):
            return name
        try:
            head = self._client.head_object(self._bucket, key, version_id=version_id)
        except (ForbiddenError, NotFoundError):
            return name
        return escaped.raw_name(name, key, head.metadata) or name

    def _beside(self, item: TargetObject, size: int) -> TargetObject | None:
        """Return what is to be fetched where a file of `size` bytes, or for a folder's name a folder, is there."""
        if self._rule is IfExists.SKIP or (item.name.endswith("/") and not item.size):
            return None
        if self._rule is IfExists.FAIL:
            raise SinkError(f"{item.name} is there already", hint="without --if-exists fail, the same is skipped")
        same = not item.ranges and size == item.size and self.is_same(item)
        if same:
            return None
        if self._rule is IfExists.OVERWRITE:
            self.replaced_bytes[item.name] = size
            return replace(item, replace=True)
        if self._rule is IfExists.RENAME:
            return self._renamed(item)
        unknown = bool(item.ranges) or same is None
        raise SinkError(
            f"{item.name} is there already, and "
            + ("whether it is the same cannot be told: there is no digest of it" if unknown else "is not the same"),
            hint="get it to another place, move away what is there, or use --if-exists overwrite or rename",
        )

    def _renamed(self, item: TargetObject) -> TargetObject:
        name = self._sink.free_name(item.name)
        self._given.add(name)
        self.notes.append(f"{item.name} is taken at the target: {item.key} is restored as {name}")
        return replace(item, name=name)

    def is_same(self, item: TargetObject) -> bool | None:
        """Whether what has an object's name has its bytes too; None when nobody can tell. Asks the appliance once."""
        head = self._client.head_object(self._bucket, item.key, version_id=item.version_id)
        if isinstance(self._sink, KeyedSink):
            there = self._sink.digests(item.name)
            same = None if there is None else there.agrees_with(KnownDigests.of_head(head))
            if same is not None:
                return same
        elif self._sink.is_link(item.name) != FileAttributes.from_metadata(head.metadata).link:
            return False
        return has_digests(head, lambda at, length: self._sink.read_existing(item.name, at, length), item.size)

    def without_conflicts(self, plan: PlannedJob) -> PlannedJob:
        """Leave out what would become one file with another, or a file where others need a folder.

        They fail by name; the first of those of one name stays, and what needs the folder. Across jobs the sink
        itself finds such names.
        """
        if self._sink.sequential:
            return plan
        first: dict[str, int] = {}
        folders: set[str] = set()
        has_folders = not isinstance(self._sink, KeyedSink)
        if _are_apart(plan.target_names, has_folders=has_folders):
            return plan
        for number, name in enumerate(plan.target_names):
            first.setdefault(name, number)
            folder = name.rpartition("/")[0] if has_folders else ""
            while folder and folder not in folders:
                folders.add(folder)
                folder = folder.rpartition("/")[0]
        kept = []
        for number, name in enumerate(plan.target_names):
            if first[name] != number:
                other = plan.keys[first[name]]
                failed = f"{plan.keys[number]} and {other} would become one {'file' if has_folders else 'object'}"
            elif name in folders:
                failed = f"{plan.keys[number]} would become a file, and others need a folder of that name"
            else:
                kept.append(number)
                continue
            hint = "get it alone, under a name of your choice: get ds3://BUCKET/KEY FILE"
            self._fail(Failure(plan.keys[number], SinkError(failed, hint=hint)))
        return plan if len(kept) == len(plan) else plan.keep(kept)

    def room_needed(self, plan: PlannedJob) -> int:
        """Return the bytes of room that `plan` needs: what comes without what it replaces, but for its largest file.

        A replaced file goes when the new one is whole, so that there are two of the largest at some time.
        """
        replaced = sum(self.replaced_bytes.pop(plan.target_names[number], 0) for number in plan.replaces)
        return max(plan.bytes - replaced, max(plan.sizes, default=0))


def _are_apart(names: Sequence[str], *, has_folders: bool) -> bool:
    """Whether several names differ, and none of them is that of a folder which another needs."""
    if len(set(names)) < len(names):
        return False
    needed = {name.rpartition("/")[0] for name in names} if has_folders else set()
    for folder in list(needed):
        above = folder.rpartition("/")[0]
        while above and above not in needed:
            needed.add(above)
            above = above.rpartition("/")[0]
    needed.discard("")
    return needed.isdisjoint(names)


def _in_stream_order(item: TargetObject) -> Iterator[TargetObject]:
    """Yield an object as often as its ranges begin anew before the end of the one before: a stream cannot go back."""
    if not item.ranges:
        yield item
        return
    run: list[ByteRange] = []
    for one in item.ranges:
        if run and one.start < run[-1].end:
            yield _of_ranges(item, run)
            run = []
        run.append(one)
    yield _of_ranges(item, run)


def _of_ranges(item: TargetObject, ranges: list[ByteRange]) -> TargetObject:
    return replace(item, size=sum(one.length for one in ranges), ranges=tuple(ranges))
