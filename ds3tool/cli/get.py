"""`ds3tool get`: get an object, or everything below a prefix, through a bulk job."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from ds3tool.addresses import Ds3Address, LocalAddress, parse_address, parse_ds3
from ds3tool.cli import transfer
from ds3tool.cli.failures import NothingThereError
from ds3tool.cli.options import command
from ds3tool.cli.settings import Settings, connect
from ds3tool.client import Ds3Client
from ds3tool.errors import UsageError
from ds3tool.jobs.get import GetRun
from ds3tool.protocol.model import ListedObject
from ds3tool.sinks.local import LocalSink

app = typer.Typer(add_completion=False)


def below(client: Ds3Client, address: Ds3Address) -> Iterator[ListedObject]:
    """Yield the object that `address` names, or every one below it; NothingThereError when there is none."""
    found = False
    for listed in client.list_objects(address.bucket, prefix=address.key):
        if not address.is_prefix and listed.key != address.key:
            break  # one key: it comes first of all that begin like it
        if listed.key == address.key and address.is_prefix:
            found = True
            continue  # the folder object of the prefix itself is the target
        found = True
        yield listed
        if not address.is_prefix:
            break
    if not found:
        raise NothingThereError(
            f"{address} names no object",
            hint=None if address.is_prefix else f"for everything below it, write {address}/",
        )


def target_of(address: Ds3Address, target: str) -> tuple[str, Callable[[str], str]]:
    """Return the folder that receives, and how a key becomes a name below it."""
    local = parse_address(target)
    if not isinstance(local, LocalAddress) or local.path == "-":
        raise UsageError(
            f"{target} cannot receive objects", hint="give a folder of this host, or a file for one object"
        )
    if address.is_prefix:
        return local.path, lambda key: key[len(address.key) :]
    last = address.key.rpartition("/")[2]
    if local.path.endswith("/") or os.path.isdir(local.path):
        return local.path, lambda _: last
    folder, name = os.path.split(local.path)
    return folder or ".", lambda _: name


@command(
    app,
    "get",
    examples=[
        "ds3tool get ds3://archive/2024/ /data/restored",
        "ds3tool get ds3://archive/film.mov film.mov",
        "ds3tool get ds3://archive /data/all -j 8",
    ],
)
def get(
    source: Annotated[
        str, typer.Argument(metavar="ds3://BUCKET/KEY", help="A key, or everything below when it ends in a slash.")
    ],
    target: Annotated[str, typer.Argument(metavar="PATH", help="A folder, or for one object also a file's name.")],
    *,
    jobs: transfer.JobOptions,
    settings: Settings,
) -> None:
    """Get an object, or everything below a prefix, through planned bulk jobs; tapes are loaded as needed.

    Each object is verified and appears whole under its name or not at all. A file that is there and the same is
    skipped; one that is not the same fails by name. Ctrl-C cancels the job.
    """
    address = parse_ds3(source)
    folder, name_of = target_of(address, target)
    run_settings = jobs.run_settings()
    with connect(settings, limit=jobs.rate_limit()) as client:
        client.get_bucket(address.bucket)
        sink = LocalSink(folder)
        try:
            run = GetRun(
                client,
                sink,
                address.bucket,
                below(client, address),
                name_of=name_of,
                settings=run_settings,
            )
            result = transfer.carry_out(run, settings, label="get")
        finally:
            sink.close()
    transfer.show_result(result, settings, done=transfer.GOT, failed="could not be restored")
