"""The option `--dry-run`."""

from typing import Annotated

import typer

from ds3tool.cli.options import option_group
from ds3tool.lazy_dataclass import dataclass


@option_group("Jobs")
@dataclass(frozen=True, slots=True)
class DryRun:
    """Whether the command is only to say what it would do; `save` is the file that keeps the plan, for `plan`."""

    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", "--dryrun", metavar="", help="Say what would be done, and do nothing.")
    ] = False
    save: str | None = None
