"""`ds3tool tree`: prefixes and objects as a tree, drawn while they are listed."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ds3tool.cli.failures import NothingThereError
from ds3tool.cli.lookup import base_of, everything_at, in_byte_order
from ds3tool.cli.ls import in_order
from ds3tool.cli.options import command
from ds3tool.cli.output import Field, OutputFormat, counted
from ds3tool.cli.selection import Selection, selected_objects
from ds3tool.cli.settings import Settings, connect
from ds3tool.errors import UsageError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ListedObject
from ds3tool.sizes import format_size

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client

app = typer.Typer(add_completion=False)

# So many keys may be looked ahead for the end of a prefix before the appliance is asked what follows it.
_LOOK_AHEAD = 1000
# What stands before the last of its siblings and before the others, and below each of the two.
_LINES = ("└── ", "├── ", "    ", "│   ")
_ASCII_LINES = ("`-- ", "|-- ", "    ", "|   ")


@dataclass(frozen=True, slots=True)
class Entry:
    """A prefix or an object in the tree. `name` is the last part of its key; `depth` counts from 1.

    `last` says that no sibling follows. An object has its size, and its date once it is complete.
    """

    key: str
    name: str
    depth: int
    last: bool
    is_prefix: bool
    size: int | None = None
    last_modified: datetime | None = None


@dataclass(slots=True)
class Count:
    """What the tree has shown: prefixes, objects, and the bytes of those that are complete."""

    prefixes: int = 0
    objects: int = 0
    bytes: int = 0
    incomplete: int = 0

    def object(self, item: ListedObject) -> None:
        """Count an object."""
        self.objects += 1
        self.bytes += item.size
        self.incomplete += item.last_modified is None


FIELDS: list[Field[Entry]] = [
    Field("depth", lambda entry: entry.depth),
    Field("type", lambda entry: "prefix" if entry.is_prefix else "object"),
    Field("size", lambda entry: entry.size),
    Field("last_modified", lambda entry: entry.last_modified),
    Field("key", lambda entry: entry.key, leads=True),
]


@command(
    app,
    "tree",
    examples=[
        "ds3tool tree ds3://archive/2024/",
        "ds3tool tree --depth 2 --sizes ds3://archive",
        "ds3tool tree --depth 1 -o ndjson ds3://archive",
    ],
)
def show_tree(
    address: Annotated[str, typer.Argument(metavar="ds3://BUCKET/PREFIX", help="A bucket or a prefix.")],
    *,
    depth: Annotated[
        int | None,
        typer.Option("--depth", "-L", metavar="N", min=1, help="So many levels; what lies deeper is not listed."),
    ] = None,
    sizes: Annotated[bool, typer.Option("--sizes", metavar="", help="The size of each object.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", metavar="", help="Wildcards in the address stand for themselves.")
    ] = False,
    settings: Settings,
) -> None:
    """Draw what is in a bucket or below a prefix as a tree, with a count at the end.

    It is drawn while it is listed, however many keys there are. With --depth only the levels that are shown are
    asked for: one request for each prefix, or more where it is large.
    """
    output = settings.results()
    count = Count()
    with connect(settings) as client:
        selection = everything_at(client, address, raw=raw)
        if selection.pattern is not None:
            raise UsageError(
                f"{selection} is a pattern, and a tree has one root",
                hint=f"list what matches with: ds3tool find '{selection}', or add --raw",
            )
        found = (
            _all_levels(client, selection, count)
            if depth is None or selection.whole
            else _some_levels(client, selection, depth, count)
        )
        if output.shape is not OutputFormat.TABLE:
            output.records(found, FIELDS)
            return
        # An address that names nothing is found out before its root is drawn.
        first = list(itertools.islice(found, 1))
        output.line(f"ds3://{selection.bucket}/{base_of(selection)}")
        output.lines(_drawn(itertools.chain(first, found), _LINES if output.draws_lines else _ASCII_LINES, sizes=sizes))
        output.lines(("", _summary(count, depth)))


def _summary(count: Count, depth: int | None) -> str:
    parts = [counted(count.prefixes, "prefix"), counted(count.objects, "object"), format_size(count.bytes)]
    if count.incomplete:
        parts.append(f"{count.incomplete:,} of them not complete yet")
    return ", ".join(parts) + ("" if depth is None else f" (down to level {depth})")


def _drawn(entries: Iterable[Entry], lines: Sequence[str], *, sizes: bool) -> Iterator[str]:
    at_end, before_others, below_end, below_others = lines
    margins: list[str] = []
    for entry in entries:
        del margins[entry.depth - 1 :]
        size = ""
        if sizes and not entry.is_prefix:
            size = f"  ({format_size(entry.size or 0) if entry.last_modified is not None else 'not complete yet'})"
        yield "".join(margins) + (at_end if entry.last else before_others) + entry.name + size
        margins.append(below_end if entry.last else below_others)


# -- all levels: one listing of everything ---------------------------------------------------------------------------


class Ahead:
    """The objects of a listing, with the means to tell what follows; up to twice `hold` of them are held.

    `ask(parent, prefix)` tells whether anything below `parent` comes after all that begins with `prefix`.
    """

    def __init__(
        self, objects: Iterable[ListedObject], ask: Callable[[str, str], bool], *, hold: int = _LOOK_AHEAD
    ) -> None:
        self._objects = iter(objects)
        self._ask = ask
        self._held: list[ListedObject] = []
        self._at = 0
        self._most = hold

    def take(self) -> ListedObject | None:
        """Return the next object, None at the end."""
        if not self._hold(1):
            return None
        self._at += 1
        return self._held[self._at - 1]

    def goes_on(self, parent: str) -> bool:
        """Whether the next key lies below `parent`."""
        return self._hold(1) and self._held[self._at].key.startswith(parent)

    def goes_on_after(self, prefix: str, parent: str) -> bool:
        """Whether a key below `parent` follows all those that begin with `prefix`, which ends in a slash."""
        whole = not self._hold(self._most)
        # The first text above all that begin with `a/` is `a0`.
        beyond = bisect.bisect_left(self._held, prefix[:-1] + chr(ord("/") + 1), lo=self._at, key=lambda one: one.key)
        if beyond < len(self._held):
            return self._held[beyond].key.startswith(parent)
        return False if whole else self._ask(parent, prefix)

    def _hold(self, number: int) -> bool:
        """Take objects until `number` are held that were not given out; whether there are so many."""
        while len(self._held) - self._at < number:
            item = next(self._objects, None)
            if item is None:
                return False
            if self._at >= self._most:
                del self._held[: self._at]
                self._at = 0
            self._held.append(item)
        return True


def _all_levels(client: Ds3Client, selection: Selection, count: Count) -> Iterator[Entry]:
    def ask(parent: str, prefix: str) -> bool:
        pages = client.listing_pages(selection.bucket, prefix=parent, delimiter="/", start_after=prefix, page_size=1)
        page = next(iter(pages), None)
        return page is not None and bool(page.objects or page.prefixes)

    return entries_of(Ahead(in_byte_order(selected_objects(client, selection)), ask), base_of(selection), count)


def entries_of(ahead: Ahead, base: str, count: Count) -> Iterator[Entry]:
    """Yield the prefixes below `base`, and the objects in them, in the order of their keys."""
    parents = [base]
    while (item := ahead.take()) is not None:
        count.object(item)
        while len(parents) > 1 and not item.key.startswith(parents[-1]):
            parents.pop()
        while (slash := item.key.find("/", len(parents[-1]))) >= 0:
            parent, prefix = parents[-1], item.key[: slash + 1]
            last = not ahead.goes_on_after(prefix, parent)
            count.prefixes += 1
            yield Entry(prefix, prefix[len(parent) :], len(parents), last, is_prefix=True)
            parents.append(prefix)
        parent = parents[-1]
        if item.key != parent:  # a folder's own object is the prefix that was drawn
            last = not ahead.goes_on(parent)
            yield _object(item, item.key[len(parent) :], len(parents), last)


def _object(item: ListedObject, name: str, depth: int, last: bool) -> Entry:
    return Entry(item.key, name, depth, last, is_prefix=False, size=item.size, last_modified=item.last_modified)


# -- some levels: a listing of each prefix ---------------------------------------------------------------------------


class _Level:
    """What is directly below one prefix; one entry is looked ahead."""

    def __init__(self, client: Ds3Client, bucket: str, prefix: str) -> None:
        self.prefix = prefix
        pages = client.listing_pages(bucket, prefix=prefix, delimiter="/")
        self._entries = (entry for page in pages for entry in in_order(page))
        self._next = next(self._entries, None)

    @property
    def ended(self) -> bool:
        return self._next is None

    def take(self) -> ListedObject | str:
        taken, self._next = self._next, next(self._entries, None)
        assert taken is not None
        return taken


def _some_levels(client: Ds3Client, selection: Selection, depth: int, count: Count) -> Iterator[Entry]:
    levels = [_Level(client, selection.bucket, selection.prefix)]
    if levels[0].ended and selection.prefix:
        raise NothingThereError(f"there is nothing at {selection}")
    while levels:
        level = levels[-1]
        if level.ended:
            levels.pop()
            continue
        entry = level.take()
        if isinstance(entry, str):
            count.prefixes += 1
            yield Entry(entry, entry[len(level.prefix) :], len(levels), level.ended, is_prefix=True)
            if len(levels) < depth:
                levels.append(_Level(client, selection.bucket, entry))
            continue
        count.object(entry)
        if entry.key != level.prefix:
            yield _object(entry, entry.key[len(level.prefix) :], len(levels), level.ended)
