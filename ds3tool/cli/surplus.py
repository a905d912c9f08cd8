"""What is at a sync's target and not in its source, and how it goes: asked for, counted, told."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from ds3tool.addresses import Ds3Address
from ds3tool.cli.output import counted
from ds3tool.cli.prompts import confirm
from ds3tool.cli.settings import Settings
from ds3tool.client import Ds3Client
from ds3tool.errors import ApplianceError, Ds3Error, InterruptedRunError
from ds3tool.filters import Filter
from ds3tool.jobs.ends import Failure, Source
from ds3tool.jobs.get_targets import Asked
from ds3tool.jobs.run import RunResult
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.escaped import escape, may_be_escaped
from ds3tool.protocol.listed_columns import ListedColumns
from ds3tool.sinks.local import LocalSink
from ds3tool.sizes import format_size
from ds3tool.sources.local import LocalSource, Symlinks

_OURS = (".ds3tool-", ".part")


@dataclass(frozen=True, slots=True)
class Surplus:
    """Something at the target that the source has not: its key or its name below the folder, its size in bytes."""

    name: str
    size: int


def surplus_objects(
    client: Ds3Client, target: Ds3Address, folder: str, source: Source, wanted: Filter, *, links_skipped: bool
) -> Iterator[Surplus]:
    """Yield the objects below `target` of which `source`, the folder's, has nothing; in the appliance's order.

    What the source leaves out on purpose (a link with all that is below it, where those are skipped, a device, what
    `wanted` excludes) is no surplus: nothing of that name may be in the folder at all.
    """
    keys = {item.key for item in source.objects()}
    if source.failures:  # what cannot be read may be all there; the run will say so
        return
    for listed in client.list_objects(target.bucket, prefix=target.key):
        name = listed.key[len(target.key) :]
        if listed.last_modified is None or not name or listed.key in keys:
            continue
        if not wanted.accepts(name, size=listed.size, modified_ns=None):
            continue
        if not stands_for(folder, name, links_skipped=links_skipped):
            yield Surplus(listed.key, listed.size)


def stands_for(folder: str, name: str, *, links_skipped: bool) -> bool:
    """Whether something below `folder` stands for what was put as `name`: it has that name, or one escaped to it.

    With `links_skipped` a link stands for all that was put from below it. What cannot be examined may be there.
    """
    ways = [os.fsencode(folder)]
    for part in name.removesuffix("/").split("/"):
        below: list[bytes] = []
        for way in ways:
            try:
                below += (os.path.join(way, entry) for entry in _entries_of(way, part))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    return True
        if links_skipped and any(map(os.path.islink, below)):
            return True
        ways = below
    return bool(ways)


def _entries_of(folder: bytes, part: str) -> Iterator[bytes]:
    """Yield the names in a folder that become `part` in a key. Raises OSError."""
    literal: bytes | None = None
    try:
        literal = os.fsencode(part)
        os.lstat(os.path.join(folder, literal))
    except (FileNotFoundError, ValueError):
        literal = None  # no file can have such a name, or none has
    else:
        yield literal
    if may_be_escaped(part):
        yield from (name for name in os.listdir(folder) if name != literal and escape(name) == part)


def surplus_files(folder: str, keys: Iterable[str], wanted: Filter) -> Iterator[Surplus]:
    """Yield the files and links below `folder` whose names are not among `keys`, the keys below a sync's source."""
    known = set(keys)
    if not os.path.isdir(folder):
        return
    source = LocalSource(folder, prefix="", wanted=wanted, symlinks=Symlinks.STORE)
    for item in source.objects():
        last = item.key.rpartition("/")[2]
        ours = last.startswith(_OURS[0]) and last.endswith(_OURS[1])  # of a get that is at work, or was killed
        if item.key not in known and not item.key.endswith("/") and not ours:
            yield Surplus(os.fsdecode(item.name).rstrip("\0"), item.size)
    if source.failures:
        raise source.failures[0].error


def agree_to_delete(surplus: Sequence[Surplus], where: str, settings: Settings) -> None:
    """Ask before anything is moved or deleted; UsageError when the answer is no."""
    if not surplus:
        return
    size = format_size(sum(one.size for one in surplus))
    what = counted(len(surplus), "object" if where.startswith("ds3://") else "file")
    confirm(f"Delete {what} ({size}) of {where}, which the source has not, once all else is done?", settings)


def without_returned(
    surplus: Sequence[Surplus], result: RunResult, has_returned: Callable[[Surplus], bool]
) -> list[Surplus]:
    """Leave out what the source has again since it was counted, and say so: that may be what this very run moved."""
    left = [one for one in surplus if not has_returned(one)]
    if len(left) < len(surplus):
        what = counted(len(surplus) - len(left), "name")
        result.notes.append(f"{what} that was to be deleted at the target is in the source again, and was left alone")
    return left


def noting(objects: Iterable[Asked], base: int, names: set[str]) -> Iterator[Asked]:
    """Yield `objects` as they come; `names` gets those of their keys, without the first `base` characters."""
    for one in objects:
        if isinstance(one, ListedColumns):
            names.update(key[base:] for key in one.keys)
        elif one.key is not None:
            names.add(one.key[base:])
        yield one


def delete_surplus(result: RunResult, surplus: Sequence[Surplus], delete: Callable[[Sequence[Surplus]], None]) -> None:
    """Delete what was agreed to after a run, when all of that went well; what comes of it joins the run's result."""
    if not surplus:
        return
    if result.stopped is not None or result.failures:
        result.notes.append("nothing was deleted at the target, since not everything went well")
        return
    try:
        delete(surplus)
    except KeyboardInterrupt:
        result.stopped = InterruptedRunError("interrupted before everything was deleted that is too much")
    except Ds3Error as error:
        result.stopped = error


def delete_objects(client: Ds3Client, bucket: str, surplus: Sequence[Surplus], result: RunResult) -> None:
    """Delete objects, a thousand at a time; each that could not be is a failure by name."""
    for outcome in client.delete_objects(bucket, (one.name for one in surplus)):
        result.deleted += len(outcome.deleted)
        for failed in outcome.failures:
            reason = f"{failed.key} could not be deleted: {failed.message or failed.code}"
            result.failures.append(Failure(failed.key, ApplianceError(reason, status=200, code=failed.code)))


def delete_files(sink: LocalSink, surplus: Sequence[Surplus], result: RunResult) -> None:
    """Delete files below a sink's folder; no link is followed on the way."""
    for one in surplus:
        try:
            sink.remove(one.name)
            result.deleted += 1
        except Ds3Error as error:
            result.failures.append(Failure(one.name, error))
