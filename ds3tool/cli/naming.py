"""The options that give names at the other end, and those that name what is meant: lists and maps from files."""

import os
import re
import sys
from collections.abc import Iterator
from typing import Annotated, BinaryIO

import typer

from ds3tool.cli.options import option_group
from ds3tool.errors import PathNotFoundError, UsageError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.renaming import Renaming, parse_rename_map

_READ_BYTES = 1 << 16
# A URL that is a key to something. Taken for a name it would be told of, and kept, with its signature.
_SIGNED_URL = rb"(?is)https?://[^?]*\?.*(signature|sig)="


@option_group("Names")
@dataclass(frozen=True, slots=True)
class Naming:
    """What `--strip-prefix` and `--rename-map` were given."""

    strip_prefix: Annotated[
        str | None,
        typer.Option(
            "--strip-prefix",
            metavar="PREFIX",
            help="Beginning of names to leave out; of a get, instead of the address's own ('' keeps the whole key).",
        ),
    ] = None
    rename_map: Annotated[
        str | None,
        typer.Option(
            "--rename-map",
            metavar="FILE",
            help="Names to change: lines of an old name, a tab, a new name; 'old/' to 'new/' means all below.",
        ),
    ] = None

    def renaming(self) -> Renaming:
        """Return how names change; PathNotFoundError or UsageError for a map that cannot be read."""
        names = {}
        if self.rename_map is not None:
            with opened_list(self.rename_map) as lines:
                text = lines.read()
            try:
                names = parse_rename_map(text.decode("utf-8").split("\n"), origin=self.rename_map)
            except UnicodeDecodeError as error:
                raise UsageError(f"{self.rename_map} is not UTF-8 text") from error
        return Renaming(self.strip_prefix or "", names)


@option_group("Which objects")
@dataclass(frozen=True, slots=True)
class NamesFrom:
    """What `--files-from` and `--null` were given."""

    files_from: Annotated[
        str | None,
        typer.Option(
            "--files-from",
            metavar="FILE",
            help="Only the names listed there, below the source; for https:// the URLs themselves. - is stdin.",
        ),
    ] = None
    null: Annotated[
        bool, typer.Option("--null", "-0", metavar="", help="Names in --files-from end in NUL, as from find -print0.")
    ] = False

    def check(self) -> None:
        """Raise UsageError where one of the options makes no sense without the other."""
        if self.files_from is None and self.null:
            raise UsageError("--null says how --files-from is written, and there is none")

    def names(self) -> Iterator[bytes] | None:
        """Yield the names as they are read; None when there is no list. Empty ones are left out.

        PathNotFoundError for a list that is not there; UsageError, at that line, for one of presigned URLs.
        """
        self.check()
        if self.files_from is None:
            return None
        return _names(opened_list(self.files_from), b"\0" if self.null else b"\n")


def opened_list(path: str) -> BinaryIO:
    """Open a list that an option names; `-` is stdin."""
    if path == "-":
        if sys.stdin is None:
            raise UsageError("a list was to come on stdin, and stdin is closed")
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    try:
        return open(path, "rb")
    except OSError as error:
        raise PathNotFoundError(f"{path} cannot be read: {error.strerror}") from error


def _names(lines: BinaryIO, end: bytes) -> Iterator[bytes]:
    rest = b""
    with lines:
        while block := lines.read(_READ_BYTES):
            *whole, rest = (rest + block).split(end)
            for name in whole:
                if name := _bare(name, end):
                    yield name
    if name := _bare(rest, end):
        yield name


def _bare(name: bytes, end: bytes) -> bytes:
    if re.match(_SIGNED_URL, name):
        raise UsageError(
            "a list of names has a signed URL in it, which is no name below the source",
            hint="a list of URLs is put with: ds3tool put https:// ds3://BUCKET/ --files-from FILE",
        )
    return name.removesuffix(b"\r") if end == b"\n" else name
