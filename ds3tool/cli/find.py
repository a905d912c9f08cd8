"""`ds3tool find`: the objects that have a name, an age, a size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

import typer

from ds3tool.cli.choice import Choice
from ds3tool.cli.lookup import base_of, chosen, everything_at
from ds3tool.cli.ls import Entry, entry_fields
from ds3tool.cli.options import command
from ds3tool.cli.output import OutputFormat
from ds3tool.cli.selection import parse_selection, selected_objects
from ds3tool.cli.settings import Settings, connect
from ds3tool.errors import UsageError

app = typer.Typer(add_completion=False)


@command(
    app,
    "find",
    examples=[
        "ds3tool find ds3://archive/2024/ --name '*.mxf' --min-size 1G",
        "ds3tool find ds3://archive --older 365d -l",
        "ds3tool find --relative -0 --newer 7d ds3://archive/2024/ > names",
    ],
)
def find(
    address: Annotated[str, typer.Argument(metavar="ds3://BUCKET/PREFIX", help="A bucket, a prefix, a pattern.")],
    *,
    name: Annotated[
        list[str] | None, typer.Option("--name", metavar="PATTERN", help="The same as --include, as in find(1).")
    ] = None,
    long: Annotated[
        bool, typer.Option("--long", "-l", metavar="", help="Date and size as well, as ls shows them.")
    ] = False,
    relative: Annotated[
        bool, typer.Option("--relative", metavar="", help="Names below the address, as --files-from reads them.")
    ] = False,
    null: Annotated[
        bool,
        typer.Option("--null", "-0", metavar="", help="End each name in NUL and write it exactly, for a program."),
    ] = False,
    versions: Annotated[bool, typer.Option("--versions", metavar="", help="Every version of each object.")] = False,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", metavar="", help="Read the address as ending in a slash.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", metavar="", help="Wildcards in the address stand for themselves.")
    ] = False,
    choice: Choice,
    settings: Settings,
) -> None:
    r"""List the objects below an address that all the options choose, one a line.

    An address without a slash at the end means all below it, or where nothing is, the one object. Names that hold a
    line feed or an escape code are shown with \n or \e in their place; with -0 they are exact. That nothing is
    chosen is no failure; that the address names nothing is.

    What --relative -0 has written, ds3tool get -0 --files-from takes, with the same address.
    """
    if null and (long or settings.output is not OutputFormat.TABLE):
        raise UsageError("--null writes names, and nothing else", hint="leave out -l and -o, or --null")
    wanted = replace(choice, include=[*choice.include, *(name or [])]).filter()
    output = settings.results()
    with connect(settings) as client:
        selection = (
            parse_selection(address, recursive=True, raw=raw)
            if recursive
            else everything_at(client, address, raw=raw, versions=versions)
        )
        found: Iterator[Entry] = iter(chosen(selected_objects(client, selection, versions=versions), selection, wanted))
        if long or output.shape is not OutputFormat.TABLE:
            output.records(found, entry_fields(versions=versions))
            return
        base = len(base_of(selection))
        before = f"ds3://{selection.bucket}/"
        keys = (entry if isinstance(entry, str) else entry.key for entry in found)
        names = (key[base:] if relative else before + key for key in keys)
        if null:
            output.exact(names, end="\0")
        else:
            output.lines(names)
