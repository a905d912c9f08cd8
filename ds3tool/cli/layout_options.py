"""The options of a put from a place whose keys say more than a name: `--layout` and what goes with it."""

from dataclasses import fields
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ds3tool.cli.firehose_closing import Interval, Margin, Zone, closing_of
from ds3tool.cli.options import option_group
from ds3tool.errors import UsageError
from ds3tool.firehose.error_prefixes import Errors
from ds3tool.lazy_dataclass import dataclass

if TYPE_CHECKING:
    from ds3tool.firehose.closed import Closing


class Layout(StrEnum):
    """Who has laid out the keys of a prefix, so that more can be told of them than their names."""

    FIREHOSE = "firehose"


@option_group("Layout")
@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """What `--layout` and the options that go with it were given."""

    layout: Annotated[
        Layout | None,
        typer.Option(
            "--layout",
            help="Put closed hours of a Firehose delivery stream only. What comes late is put at the next run.",
        ),
    ] = None
    error_prefixes: Annotated[
        Errors | None,
        typer.Option("--error-prefixes", help="Put what failed below errors/ (apart, unless given), or leave it out."),
    ] = None
    interval: Interval = None
    margin: Margin = None
    timezone: Zone = None

    def check(self, *, raw: bool) -> None:
        """Raise UsageError for an option that means nothing without a layout, and for --raw with one."""
        if self.layout is not None:
            if raw:
                raise UsageError("--raw means nothing with --layout, which takes everything below a prefix")
            return
        for each in fields(self):
            if getattr(self, each.name) is not None:
                option = each.name.replace("_", "-")
                raise UsageError(f"--{option} is for a layout, and none is given", hint="add --layout firehose")

    def closing(self) -> "Closing":
        """Return when an hour is closed."""
        return closing_of(self.interval, self.margin, self.timezone)
