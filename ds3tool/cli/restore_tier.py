"""`--restore-tier` and `--restore-days`: what is archived in S3 is asked back, and waited for, before it is put."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from ds3tool.aws.restore import THREADS, Archived, Restoring, Tier, Waiting
from ds3tool.aws.s3_listing import ARCHIVED_CLASSES, Restore, S3Listed
from ds3tool.cli import messages
from ds3tool.cli.interruption import interruptible
from ds3tool.cli.options import option_group
from ds3tool.cli.output import counted
from ds3tool.cli.settings import Settings
from ds3tool.errors import InterruptedRunError, UsageError
from ds3tool.filters import Filter
from ds3tool.sizes import format_duration, format_size

if TYPE_CHECKING:
    from ds3tool.cli.put_s3 import S3Put
    from ds3tool.clock import Clock

_DAYS = 7


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
            "--restore-days", metavar="N", min=1, help=f"Days for which S3 keeps what is restored; else {_DAYS}."
        ),
    ] = None

    def check(self) -> None:
        """Raise UsageError where one of the options makes no sense without the other."""
        if self.restore_tier is None and self.restore_days is not None:
            raise UsageError("--restore-days says how long what is restored is kept, and there is no --restore-tier")


def restore_first(
    what: S3Put,
    options: RestoreOptions,
    *,
    wanted: Filter,
    listed: Sequence[bytes] | None,
    settings: Settings,
    dry_run: bool = False,
    clock: Clock | None = None,
) -> None:
    """Restore what is chosen and archived, and wait until it can be read; nothing where `options` ask for nothing.

    With `dry_run` say only how much that would be. Lists everything once. Raises what S3 refuses; InterruptedRunError
    at Ctrl-C, with S3 going on all the same.
    """
    if options.restore_tier is None:
        return
    if dry_run:
        found = list(_archived(what, wanted, listed))
        if found:
            size = f"{counted(len(found), 'object')}, {format_size(sum(one.size for one in found))}"
            messages.note(
                f"{size}: would be asked back from the archive in S3 first; until then they fail here by name",
                quiet=settings.quiet,
            )
        return
    client = what.aws.client("s3", connections=THREADS)
    restoring = Restoring(client, tier=options.restore_tier, days=options.restore_days or _DAYS, clock=clock)
    try:
        with interruptible():
            restoring.ask(_archived(what, wanted, listed))
            if restoring.objects:
                size = f"{counted(restoring.objects, 'object')}, {format_size(restoring.bytes)}"
                messages.note(f"{size}: asked back from the archive in S3", quiet=settings.quiet)
            restoring.wait(lambda waiting: _tell(waiting, settings))
    except KeyboardInterrupt as error:
        raise InterruptedRunError(
            "interrupted while objects are being restored in S3, and before anything was put",
            hint="S3 goes on with it; run the same command again, which waits for the rest",
        ) from error


def _archived(what: S3Put, wanted: Filter, listed: Sequence[bytes] | None) -> Iterator[Archived]:
    """Yield what is chosen and cannot be read as it is."""
    for root in what.roots:
        found: list[Archived] = []
        bucket = root.address.bucket

        def note(one: S3Listed, bucket: str = bucket, found: list[Archived] = found) -> bool:
            if one.storage_class in ARCHIVED_CLASSES and one.restore is not Restore.READY:
                found.append(Archived(bucket, one.key, one.size))
            return False

        source = replace(what, roots=(root,)).source(wanted=wanted, listed=listed, chosen=note)
        deque(source.objects(), maxlen=0)
        yield from found


def _tell(waiting: Waiting, settings: Settings) -> None:
    messages.note(
        f"{waiting.ready:,} of {counted(waiting.total, 'object')} can be read; "
        f"looking again in {format_duration(waiting.seconds)}",
        quiet=settings.quiet,
    )
