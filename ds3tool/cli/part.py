"""The options that mean one version, or some bytes, of one object; `get` and `cat` take them."""

from collections.abc import Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Annotated

import typer

from ds3tool.cli.failures import NothingThereError
from ds3tool.cli.options import option_group
from ds3tool.cli.selection import Selection, selected_objects
from ds3tool.errors import NotFoundError, UsageError
from ds3tool.jobs.get_targets import Wanted
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.ranges import ByteRange
from ds3tool.sizes import parse_size

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client


@dataclass(frozen=True, slots=True)
class AskedRange:
    """Bytes from `offset` on: `length` of them, or with None all to the object's end."""

    offset: int
    length: int | None

    @classmethod
    def parse(cls, text: str) -> "AskedRange":
        """Return what `OFFSET:LENGTH` means; UsageError for anything else and for no bytes at all."""
        offset, colon, length = text.partition(":")
        hint = "write it like 0:4096, 64MiB:1MiB or, to the end, 10M:"
        if not colon or not offset.strip():
            raise UsageError(f"{text!r} is not a range of bytes", hint=hint)
        asked = cls(parse_size(offset), parse_size(length) if length.strip() else None)
        if asked.length == 0:
            raise UsageError(f"{text!r} is a range of no bytes", hint=hint)
        return asked

    def within(self, size: int, name: str) -> ByteRange:
        """Return the bytes meant of an object of `size` bytes; UsageError when it has not all of them."""
        end = size if self.length is None else self.offset + self.length
        if self.offset >= size or end > size:
            what = f"{self.offset}:" if self.length is None else f"{self.offset}:{self.length}"
            raise UsageError(f"the range {what} is not in {name}, which has {size} bytes")
        return ByteRange(self.offset, end)


def check_version(version_id: str | None) -> None:
    """Raise UsageError for a `--version-id` that is blank, as a script's empty variable is: it names no version."""
    if version_id is not None and not version_id.strip():
        raise UsageError("--version-id is empty", hint="ls --versions shows the ids")


@option_group("Part of one object")
@dataclass(frozen=True, slots=True)
class Part:
    """What `--range`, `--verify` and `--version-id` were given."""

    range: Annotated[
        list[str],
        typer.Option(
            "--range",
            metavar="OFFSET:LENGTH",
            help="Only these bytes; repeatable, they come one after the other. Without LENGTH, to the end.",
        ),
    ] = field(default_factory=list)
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            metavar="",
            help="Check whole blobs of a range too; read files again where a digest of the whole is kept.",
        ),
    ] = False
    version_id: Annotated[
        str | None, typer.Option("--version-id", metavar="ID", help="This version, as ls --versions shows it.")
    ] = None

    @property
    def is_given(self) -> bool:
        """Whether less than the latest version of an object, or another one, is meant."""
        return bool(self.range) or self.version_id is not None

    def ranges(self) -> tuple[AskedRange, ...]:
        """Return the ranges that were given, in their order; UsageError for what is none."""
        return tuple(map(AskedRange.parse, self.range))

    def check(self, selections: Sequence[Selection]) -> None:
        """Raise UsageError when a part is asked for of anything but one object, or cannot be understood."""
        self.ranges()
        if self.is_given and not (len(selections) == 1 and selections[0].whole):
            option = "--range" if self.range else "--version-id"
            raise UsageError(f"{option} is about one object", hint="give the address of one key")
        check_version(self.version_id)

    def wanted(self, client: "Ds3Client", selection: Selection) -> Wanted:
        """Return what is wanted of the one object that `selection` means; NothingThereError when it is not there."""
        if self.version_id is None:
            wanted = Wanted.of(next(iter(selected_objects(client, selection))))
        else:
            try:
                head = client.head_object(selection.bucket, selection.prefix, version_id=self.version_id)
            except NotFoundError as error:
                raise NothingThereError(
                    f"{selection} has no version {self.version_id}",
                    hint=f"its versions: ds3tool ls --versions {selection}",
                ) from error
            wanted = Wanted(selection.prefix, head.size, version_id=self.version_id)
        ranges = tuple(asked.within(wanted.size, str(selection)) for asked in self.ranges())
        return Wanted(wanted.key, wanted.size, wanted.version_id, ranges, wanted.complete)
