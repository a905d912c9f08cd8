"""What `put` puts of this host: files and folders as the command names them, or what comes on stdin."""

import os
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ds3tool.addresses import Ds3Address, LocalAddress, parse_address
from ds3tool.cli.options import option_group
from ds3tool.cli.work_words import words_of
from ds3tool.errors import PathNotFoundError, UsageError
from ds3tool.filters import Filter
from ds3tool.jobs.ends import Source
from ds3tool.jobs.plan import PlannedJob
from ds3tool.jobs.planfile import SavedPlan
from ds3tool.lazy_dataclass import dataclass
from ds3tool.renaming import Renaming
from ds3tool.sizes import parse_size
from ds3tool.sources.local import LocalSource, Symlinks

if TYPE_CHECKING:
    from ds3tool.jobs.work_head import WorkHead

_STREAM = "-"


@option_group("Files")
@dataclass(frozen=True, slots=True)
class FileOptions:
    """What `--preserve` and `--symlinks` were given."""

    preserve: Annotated[
        bool,
        typer.Option("--preserve", "-p", metavar="", help="Store times, mode, owner and xattrs of files beside them."),
    ] = False
    symlinks: Annotated[
        Symlinks, typer.Option("--symlinks", help="Leave links out, put what they lead to, or put them as links.")
    ] = Symlinks.SKIP


@option_group("Streams")
@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What `--size` and `--spool-max` were given."""

    size: Annotated[
        str | None,
        typer.Option("--size", metavar="SIZE", help="Exact size of what comes on stdin: then it is sent as it comes."),
    ] = None
    spool_max: Annotated[
        str,
        typer.Option(
            "--spool-max",
            metavar="SIZE",
            help="Without --size, stdin is kept in a file in TMPDIR first, up to so many bytes.",
        ),
    ] = "10GiB"


@dataclass(frozen=True, slots=True)
class FilesPut:
    """Files and folders as a put takes them: each path with what its keys begin with (a file's whole key).

    `moved`: they stand elsewhere than where they were planned.
    """

    roots: tuple[tuple[str, str], ...]
    names: Renaming = field(default_factory=Renaming)
    symlinks: Symlinks = Symlinks.SKIP
    preserve: bool = False
    moved: bool = False

    @property
    def shown(self) -> list[str]:
        """The paths."""
        return [path for path, _ in self.roots]

    @classmethod
    def below(cls, paths: Sequence[str], target: Ds3Address, names: Renaming, files: FileOptions) -> "FilesPut":
        """Return what `put PATH... TARGET` means; UsageError for what is no file of this host."""
        if len(paths) > 1 and not target.is_prefix:
            raise UsageError(
                f"{target} is one key, and there are {len(paths)} sources",
                hint=f"to put them below it, write {target}/",
            )
        roots = []
        for path in paths:
            address = parse_address(path)
            if not isinstance(address, LocalAddress):
                raise UsageError(f"{path} cannot be put", hint="give files or folders of this host, or - for stdin")
            if path == _STREAM:
                raise UsageError("stdin cannot be put beside other sources", hint="give - alone")
            roots.append((address.path, _prefix(address.path, target, names)))
        return cls(tuple(roots), names, files.symlinks, files.preserve)

    def source(self, *, wanted: Filter | None = None, listed: Iterable[bytes] | None = None) -> Source:
        """Return the source: what of it is `wanted`, and of the one folder only what `listed` names."""
        wanted = wanted or Filter()
        if listed is not None:
            from ds3tool.sources.listing import ListedFiles

            ((path, prefix),) = self.roots
            return ListedFiles(
                path,
                listed,
                prefix=prefix,
                names=self.names,
                wanted=wanted,
                symlinks=self.symlinks,
                preserve=self.preserve,
            )
        sources = [
            LocalSource(
                path,
                prefix=prefix,
                names=self.names,
                wanted=wanted,
                symlinks=self.symlinks,
                preserve=self.preserve,
            )
            for path, prefix in self.roots
        ]
        if len(sources) == 1:
            return sources[0]
        from ds3tool.sources.several import SeveralSources

        return SeveralSources(sources)

    def planned(self, plan: SavedPlan) -> Source:
        """Return what a saved plan lists of these files."""
        from ds3tool.sources.planned import PlannedSource

        return PlannedSource(self.source(), plan.source_objects)

    def asked(self) -> dict[str, Any]:
        """Return this for a plan that is kept; `of` reads it again, from wherever that is run."""
        return {
            "files": {
                "roots": [[os.path.abspath(path), prefix] for path, prefix in self.roots],
                "strip": self.names.strip,
                "names": dict(self.names.names),
                "symlinks": self.symlinks.value,
                "preserve": self.preserve,
            }
        }

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "FilesPut":
        """Return what `asked` has kept; KeyError, TypeError or ValueError for what it has not."""
        return cls(
            tuple((str(path), str(prefix)) for path, prefix in kept["roots"]),
            Renaming(str(kept["strip"]), {str(old): str(new) for old, new in kept["names"].items()}),
            Symlinks(kept["symlinks"]),
            kept["preserve"] is True,
        )

    def check_there(self, head: "WorkHead") -> None:
        """See that what is to be put is there at all: of a disk that is not mounted, every file would seem removed."""
        for path in self.shown:
            trouble = None
            if not os.path.lexists(path):
                trouble = "is not there"
            elif not self.moved and os.path.isdir(path) and not os.listdir(path):
                trouble = "is empty"
            if trouble is not None:
                raise PathNotFoundError(
                    f"{path} {trouble}, so nothing was done for work {head.id}, {words_of(head, self.shown)}",
                    hint="is its disk mounted? if it has moved: ds3tool resume "
                    f"{head.id} --source PATH; if it is gone for good: ds3tool job forget {head.id}",
                )

    def moved_to(self, place: str) -> "FilesPut":
        """Return the same with another path for its one; UsageError where there are several, or it is no path."""
        if not isinstance(parse_address(place), LocalAddress):
            raise UsageError(f"{place} is no path of this host, where the work's files are")
        if len(self.roots) > 1:
            raise UsageError(
                f"the work has {len(self.roots)} sources, and --source stands in for one",
                hint="put them back where they were",
            )
        return replace(self, roots=((os.path.abspath(place), self.roots[0][1]),), moved=True)

    def adopted(self, plan: PlannedJob) -> None:
        """Let files that were copied pass: size and time tell that they are the same, inodes differ."""
        if self.moved:
            plan.inodes = array("Q", bytes(8 * len(plan)))


def _prefix(path: str, target: Ds3Address, names: Renaming) -> str:
    """Return what the keys of a folder begin with, or the key of a file."""
    if os.path.isdir(path):
        return target.as_prefix().key if target.key else ""
    return target.key + names(os.path.basename(path)) if target.is_prefix else target.key


@contextmanager
def opened_stream(target: Ds3Address, options: StreamOptions) -> Iterator[Source]:
    """Give stdin as the source of one object; what is kept of it goes at the end."""
    from ds3tool.sources.stream import SpooledSource, StreamSource

    if options.size is not None:
        yield StreamSource(sys.stdin.buffer, key=target.key, size=parse_size(options.size))
        return
    source = SpooledSource(sys.stdin.buffer, key=target.key, limit=parse_size(options.spool_max))
    try:
        yield source
    finally:
        source.close()


def check_stream(paths: Sequence[str], target: Ds3Address, options: StreamOptions, *, others: bool) -> bool:
    """Whether stdin is to be put; UsageError for what makes no sense beside it, or without it.

    `others`: whether there are options that choose or name files.
    """
    parse_size(options.spool_max)
    if _STREAM not in paths:
        if options.size is not None:
            raise UsageError("--size is for what comes on stdin", hint="give - as the source")
        return False
    if len(paths) > 1:
        raise UsageError("stdin cannot be put beside other sources", hint="give - alone")
    if sys.stdin is None:
        raise UsageError("stdin was to be put, and stdin is closed")
    if target.is_prefix:
        raise UsageError(f"{target} is no key, and what comes on stdin has no name", hint=f"write {target}NAME")
    if others:
        raise UsageError("options that choose, name or describe files mean nothing for stdin")
    if options.size is not None:
        parse_size(options.size)
    return True
