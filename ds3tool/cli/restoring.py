"""What is archived in S3 is asked back, and waited for, before it is put."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ds3tool.aws.restore import THREADS, Archived, Restoring, Waiting
from ds3tool.aws.s3_listing import is_archived
from ds3tool.cli import messages
from ds3tool.cli.interruption import interruptible
from ds3tool.cli.output import counted
from ds3tool.cli.restore_tier import DAYS, RestoreOptions
from ds3tool.cli.settings import Settings, connect
from ds3tool.client import Ds3Client
from ds3tool.errors import InterruptedRunError
from ds3tool.filters import Filter
from ds3tool.jobs.put import PutRun
from ds3tool.jobs.run import RunSettings
from ds3tool.sizes import format_duration, format_size

if TYPE_CHECKING:
    from ds3tool.cli.put_s3 import S3Put
    from ds3tool.clock import Clock


def restore_first(
    what: S3Put,
    options: RestoreOptions,
    *,
    wanted: Filter,
    listed: Sequence[bytes] | None,
    bucket: str,
    run_settings: RunSettings,
    settings: Settings,
    dry_run: bool = False,
    clock: Clock | None = None,
) -> None:
    """Restore what is archived and would be put into `bucket`, and wait until it can be read.

    Nothing where `options` ask for nothing. What is there already, and what would fail there, is left alone: it would
    be restored, and paid for, at every run. With `dry_run` say only how much that would be. Lists everything once.
    Raises what S3 refuses; InterruptedRunError at Ctrl-C, with S3 going on all the same.
    """
    if options.restore_tier is None:
        return
    if dry_run:
        objects = total = 0
        with connect(settings) as client:
            for one in _archived(client, what, bucket, wanted=wanted, listed=listed, run_settings=run_settings):
                objects += 1
                total += one.size
        if objects:
            size = f"{counted(objects, 'object')}, {format_size(total)}"
            messages.note(f"{size}: would be asked back from the archive in S3 first", quiet=settings.quiet)
        return
    s3 = what.aws.client("s3", connections=THREADS)
    restoring = Restoring(s3, tier=options.restore_tier, days=options.restore_days or DAYS, clock=clock)
    try:
        with interruptible():
            with connect(settings) as client:  # not kept open for the hours that follow
                restoring.ask(_archived(client, what, bucket, wanted=wanted, listed=listed, run_settings=run_settings))
            if restoring.objects:
                size = f"{counted(restoring.objects, 'object')}, {format_size(restoring.bytes)}"
                messages.note(f"{size}: asked back from the archive in S3", quiet=settings.quiet)
            restoring.wait(lambda waiting: _tell(waiting, settings))
    except (KeyboardInterrupt, InterruptedRunError) as error:
        raise InterruptedRunError(
            "interrupted while objects are being restored in S3, and before anything was put",
            hint="S3 goes on with it; run the same command again, which waits for the rest",
        ) from error


def _archived(
    client: Ds3Client,
    what: S3Put,
    bucket: str,
    *,
    wanted: Filter,
    listed: Sequence[bytes] | None,
    run_settings: RunSettings,
) -> Iterator[Archived]:
    """Yield what is chosen, cannot be read as it is, and would be put: as the put itself will find out."""
    from ds3tool.sources.s3_reader import Pin

    # Nothing is deleted; and what fails is for the put itself to tell.
    run_settings = replace(run_settings, may_delete=True, stop_on_error=False)
    for root in what.roots:
        source = replace(what, roots=(root,), restored=True).source(wanted=wanted, listed=listed, chosen=is_archived)
        run = PutRun(client, source, bucket, settings=run_settings)
        for plan in run.plans():
            for name, size in zip(plan.source_names, plan.sizes, strict=True):
                yield Archived(root.address.bucket, Pin.of(name).key, size)
        if run.result.stopped is not None:
            raise run.result.stopped


def _tell(waiting: Waiting, settings: Settings) -> None:
    messages.note(
        f"{waiting.ready:,} of {counted(waiting.total, 'object')} can be read; "
        f"looking again in {format_duration(waiting.seconds)}",
        quiet=settings.quiet,
    )
