"""The options `--restore-tier` and `--restore-days`: whether what is archived in S3 is asked back before it is put."""

from typing import Annotated

import typer

from ds3tool.aws.tiers import Tier
from ds3tool.cli.options import option_group
from ds3tool.errors import UsageError
from ds3tool.lazy_dataclass import dataclass

DAYS = 7


@option_group("Archived objects of S3")
@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """What `--restore-tier` and `--restore-days` were given."""

    restore_tier: Annotated[
        Tier | None,
        typer.Option(
            "--restore-tier",
            help="Restore what is chosen and in Glacier, wait for it, then put; without, it fails by name.",
        ),
    ] = None
    restore_days: Annotated[
        int | None,
        typer.Option(
            "--restore-days", metavar="N", min=1, help=f"Days for which S3 keeps what is restored; else {DAYS}."
        ),
    ] = None

    def check(self) -> None:
        """Raise UsageError where one of the options makes no sense without the other."""
        if self.restore_tier is None and self.restore_days is not None:
            raise UsageError("--restore-days says how long what is restored is kept, and there is no --restore-tier")
