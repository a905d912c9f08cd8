"""`ds3tool put`: put a file or a folder into a bucket, through a bulk job."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ds3tool.addresses import Ds3Address, LocalAddress, parse_address, parse_ds3
from ds3tool.cli import messages, transfer
from ds3tool.cli.options import command
from ds3tool.cli.settings import Settings, connect
from ds3tool.errors import UsageError
from ds3tool.jobs.put import PutRun
from ds3tool.sizes import parse_size
from ds3tool.sources.local import LocalSource

app = typer.Typer(add_completion=False)


def open_source(source: str, target: Ds3Address) -> tuple[LocalSource, str]:
    """Return the source that `put SOURCE TARGET` means, and what all its keys begin with."""
    address = parse_address(source)
    if not isinstance(address, LocalAddress) or address.path == "-":
        raise UsageError(f"{source} cannot be put", hint="give a file or a folder of this host")
    if os.path.isdir(address.path):
        prefix = target.as_prefix().key if target.key else ""
        return LocalSource(address.path, prefix=prefix), prefix
    key = target.key + os.path.basename(address.path) if target.is_prefix else target.key
    return LocalSource(address.path, prefix=key), key


@command(
    app,
    "put",
    examples=[
        "ds3tool put /data/2024 ds3://archive/2024/",
        "ds3tool put film.mov ds3://archive/film.mov --wait tape",
        "ds3tool put /data ds3://archive --bwlimit 200M -j 8",
    ],
)
def put(
    source: Annotated[str, typer.Argument(metavar="PATH", help="A file, or a folder whose contents are put.")],
    target: Annotated[
        str, typer.Argument(metavar="ds3://BUCKET/KEY", help="A key, or a prefix when it ends in a slash.")
    ],
    *,
    jobs: transfer.JobOptions,
    max_upload_size: Annotated[
        str | None,
        typer.Option(
            "--max-upload-size",
            metavar="SIZE",
            envvar="DS3TOOL_MAX_UPLOAD_SIZE",
            show_envvar=False,
            help="Largest blob, as in 64GiB; else the data policy's.",
        ),
    ] = None,
    wait: Annotated[
        transfer.WaitFor,
        typer.Option(
            "--wait",
            envvar="DS3TOOL_WAIT",
            show_envvar=False,
            help="End when all is in the appliance's cache, or only when every copy is on tape.",
        ),
    ] = transfer.WaitFor.CACHE,
    settings: Settings,
) -> None:
    """Put a file, or everything below a folder, into a bucket through planned bulk jobs.

    What is there already and the same is skipped; what is there and not the same fails by name. Ctrl-C ends the job
    and keeps what is complete.
    """
    address = parse_ds3(target)
    opened, _ = open_source(source, address)
    run_settings = jobs.run_settings(blob_size=None if max_upload_size is None else parse_size(max_upload_size))
    with connect(settings, limit=jobs.rate_limit()) as client:
        run = PutRun(client, opened, address.bucket, settings=run_settings)
        result = transfer.carry_out(run, settings, label="put")
        if wait is transfer.WaitFor.TAPE and result.stopped is None:
            transfer.wait_for_tape(client, result, settings)
    if not result.objects and not result.failures and not result.skipped and result.stopped is None:
        messages.note(f"{source} holds nothing to put", quiet=settings.quiet)
    transfer.show_result(result, settings, done=transfer.PUT, failed="could not be put")
