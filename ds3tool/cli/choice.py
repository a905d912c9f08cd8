"""The options that choose among what an address or a folder holds: patterns, ages, sizes."""

import time
from dataclasses import field
from typing import Annotated

import typer

from ds3tool.cli.options import option_group
from ds3tool.errors import UsageError
from ds3tool.filters import Filter, NamePattern, parse_moment
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import parse_size


@option_group("Which objects")
@dataclass(frozen=True, slots=True)
class Choice:
    """What `--include`, `--exclude`, `--newer`, `--older`, `--min-size` and `--max-size` were given."""

    include: Annotated[
        list[str],
        typer.Option("--include", metavar="PATTERN", help="Only names like this: '*.mxf', 'reels/'; repeatable."),
    ] = field(default_factory=list)
    exclude: Annotated[
        list[str], typer.Option("--exclude", metavar="PATTERN", help="No names like this; wins over --include.")
    ] = field(default_factory=list)
    newer: Annotated[
        str | None,
        typer.Option("--newer", metavar="TIME", help="Modified since: an age (7d, 12h) or a date (2024-01-31, UTC)."),
    ] = None
    older: Annotated[str | None, typer.Option("--older", metavar="TIME", help="Modified before: an age or a date.")] = (
        None
    )
    min_size: Annotated[str | None, typer.Option("--min-size", metavar="SIZE", help="At least this large.")] = None
    max_size: Annotated[str | None, typer.Option("--max-size", metavar="SIZE", help="At most this large.")] = None

    def filter(self) -> Filter:
        """Return what the options mean at this moment; UsageError for one that means nothing, or nothing at all."""
        now = time.time_ns()
        chosen = Filter(
            NamePattern(self.include) if self.include else None,
            NamePattern(self.exclude) if self.exclude else None,
            None if self.newer is None else parse_moment(self.newer, now_ns=now),
            None if self.older is None else parse_moment(self.older, now_ns=now),
            None if self.min_size is None else parse_size(self.min_size),
            None if self.max_size is None else parse_size(self.max_size),
        )
        if chosen.newer_ns is not None and chosen.older_ns is not None and chosen.newer_ns >= chosen.older_ns:
            raise UsageError(f"nothing is both newer than {self.newer} and older than {self.older}")
        if chosen.min_size is not None and chosen.max_size is not None and chosen.min_size > chosen.max_size:
            raise UsageError(f"nothing is both larger than {self.min_size} and smaller than {self.max_size}")
        return chosen
