"""`ds3tool du`: how much lies below each prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated

import typer

from ds3tool.cli import messages
from ds3tool.cli.choice import Choice
from ds3tool.cli.lookup import base_of, chosen, everything_at, in_byte_order
from ds3tool.cli.options import command
from ds3tool.cli.output import Field, counted
from ds3tool.cli.selection import selected_objects
from ds3tool.cli.settings import Settings, connect
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.model import ListedObject
from ds3tool.sizes import format_size

app = typer.Typer(add_completion=False)


@dataclass(slots=True)
class Usage:
    """What lies below one prefix: objects and their bytes; `incomplete` ones, without a date, are not among them.

    `depth` is 0 for all that was asked for, 1 for a prefix directly below it.
    """

    address: str
    key: str
    depth: int
    objects: int = 0
    bytes: int = 0
    incomplete: int = 0

    def take(self, other: Usage) -> None:
        """Count what lies below a prefix of this one."""
        self.objects += other.objects
        self.bytes += other.bytes
        self.incomplete += other.incomplete


FIELDS: list[Field[Usage]] = [
    Field("bytes", lambda usage: usage.bytes, heading="size", text=format_size, right=True),
    Field("objects", lambda usage: usage.objects, text="{:,}".format, right=True),
    Field("incomplete", lambda usage: usage.incomplete, tabled=False),
    Field("depth", lambda usage: usage.depth, tabled=False),
    Field("key", lambda usage: usage.key, tabled=False, leads=True),
    Field("address", lambda usage: usage.address, heading="prefix", leads=True),
]


@command(
    app,
    "du",
    examples=[
        "ds3tool du ds3://archive",
        "ds3tool du --depth 2 ds3://archive/2024/",
        "ds3tool du -s --include '*.mxf' --older 365d -o json ds3://archive",
    ],
)
def show_usage(
    address: Annotated[
        str, typer.Argument(metavar="ds3://BUCKET/PREFIX", help="A bucket, a prefix, a key, a pattern.")
    ],
    *,
    depth: Annotated[
        int,
        typer.Option(
            "--depth", "--max-depth", "-d", metavar="N", min=0, help="Prefixes so many levels below the address."
        ),
    ] = 1,
    summarize: Annotated[
        bool, typer.Option("--summarize", "-s", metavar="", help="Only the total: --depth 0.")
    ] = False,
    versions: Annotated[
        bool, typer.Option("--versions", metavar="", help="Count every version of each object, not the latest.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", metavar="", help="Wildcards in the address stand for themselves.")
    ] = False,
    choice: Choice,
    settings: Settings,
) -> None:
    """Count objects and bytes below each prefix; the last line is the total.

    A prefix stands after those below it, as in du(1), and counts what is below them. Sizes are those of the objects,
    once: copies are not counted. Objects that are not complete yet are not counted, and a note says so.
    """
    wanted = choice.filter()
    output = settings.results()
    with connect(settings) as client:
        selection = everything_at(client, address, raw=raw, versions=versions)
        objects = chosen(selected_objects(client, selection, versions=versions), selection, wanted)
        total = Usage(_shown(selection.bucket, base_of(selection)), base_of(selection), 0)
        if selection.whole or selection.pattern is not None:
            total.address = str(selection)
        if selection.whole:
            total.key = selection.prefix
        output.records(
            usages(objects, total, depth=0 if summarize else depth, shown=lambda key: _shown(selection.bucket, key)),
            FIELDS,
        )
    if total.incomplete:
        messages.warn(f"{counted(total.incomplete, 'object')} not complete yet: not counted")


def _shown(bucket: str, key: str) -> str:
    return f"ds3://{bucket}/{key}"


def usages(
    objects: Iterable[ListedObject], total: Usage, *, depth: int, shown: Callable[[str], str]
) -> Iterator[Usage]:
    """Yield what lies below each prefix up to `depth` levels below `total`, as it ends, and `total` at last.

    Memory: one prefix a level. Raises ProtocolError when the keys are not in the order of their bytes.
    """
    opened = [total]
    for item in in_byte_order(objects):
        while len(opened) > 1 and not item.key.startswith(opened[-1].key):
            yield _closed(opened)
        while len(opened) <= depth:
            slash = item.key.find("/", len(opened[-1].key))
            if slash < 0:
                break
            prefix = item.key[: slash + 1]
            opened.append(Usage(shown(prefix), prefix, len(opened)))
        if item.last_modified is None:
            opened[-1].incomplete += 1
        else:
            opened[-1].objects += 1
            opened[-1].bytes += item.size
    while len(opened) > 1:
        yield _closed(opened)
    yield total


def _closed(opened: list[Usage]) -> Usage:
    ended = opened.pop()
    opened[-1].take(ended)
    return ended
