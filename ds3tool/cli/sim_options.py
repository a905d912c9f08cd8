"""The options of `ds3tool sim`: what an appliance is like, and which of those that run is meant."""

from __future__ import annotations

import ipaddress
from dataclasses import field, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ds3tool.cli.options import option_group
from ds3tool.lazy_dataclass import dataclass


class ChecksumChoice(StrEnum):
    """The digests that a data policy may ask for."""

    CRC_32 = "crc32"
    CRC_32C = "crc32c"
    MD5 = "md5"
    SHA_256 = "sha256"
    SHA_512 = "sha512"


class VersioningChoice(StrEnum):
    """What the data policy does with a second put of one key."""

    NONE = "none"
    KEEP_LATEST = "keep-latest"
    KEEP_MULTIPLE_VERSIONS = "keep-multiple-versions"


@option_group("The appliance")
@dataclass(frozen=True, slots=True)
class Built:
    """What an appliance was asked to be like; what is None is left to its own default."""

    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where it listens; others than 127.0.0.1 let others in.")
    ] = "127.0.0.1"
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes any free one.")] = 0
    directory: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Where its state is kept, and continued; else it goes with it."),
    ] = None
    access_key: Annotated[str | None, typer.Option("--access-key", metavar="ID", help="Else one is made up.")] = None
    secret_key: Annotated[
        str | None,
        typer.Option("--secret-key", metavar="KEY", help="Else one is made up; others on this host can read it."),
    ] = field(default=None, repr=False)
    blob_size: Annotated[
        str | None, typer.Option("--blob-size", metavar="SIZE", help="Blobs of a put, as in 64MiB.")
    ] = None
    chunk_size: Annotated[str | None, typer.Option("--chunk-size", metavar="SIZE", help="Most bytes of a chunk.")] = (
        None
    )
    cache_size: Annotated[str | None, typer.Option("--cache-size", metavar="SIZE", help="Room in the cache.")] = None
    retry_after: Annotated[
        int | None,
        typer.Option("--retry-after", metavar="SECONDS", min=0, help="What its replies ask clients to wait."),
    ] = None
    persist_delay: Annotated[
        str | None,
        typer.Option("--persist-delay", metavar="SECONDS", help="From a chunk's last byte to its way to tape."),
    ] = None
    tapes: Annotated[int | None, typer.Option("--tapes", metavar="N", min=0, help="Tapes in its library.")] = None
    drives: Annotated[int | None, typer.Option("--drives", metavar="N", min=1, help="Tape drives.")] = None
    tape_type: Annotated[
        str | None, typer.Option("--tape-type", metavar="TYPE", help="Of tapes and drives, LTO5 to LTO9; else LTO8.")
    ] = None
    tape_capacity: Annotated[
        str | None, typer.Option("--tape-capacity", metavar="SIZE", help="Room on a tape; else what its type has.")
    ] = None
    slots: Annotated[
        int | None, typer.Option("--slots", metavar="N", min=1, help="Storage slots of its library; else 400.")
    ] = None
    entry_exit_slots: Annotated[
        int | None,
        typer.Option("--entry-exit-slots", metavar="N", min=1, help="Slots for tapes that come and go; else 20."),
    ] = None
    timed: Annotated[
        bool, typer.Option("--timed", metavar="", help="Drives and robot take the time that real ones do.")
    ] = False
    pace: Annotated[
        float | None,
        typer.Option(
            "--pace", metavar="N", min=0.0, help="Seconds of its time in one of yours; 0 stands until sim clock steps."
        ),
    ] = None
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Makes ids and keys, and what goes wrong, repeatable.")
    ] = None
    versioning: Annotated[
        VersioningChoice | None,
        typer.Option("--versioning", help="What a new one's data policy does with a second put of a key; else none."),
    ] = None
    checksum_type: Annotated[
        ChecksumChoice | None,
        typer.Option("--checksum-type", help="What its data policy protects blobs with; else md5."),
    ] = None
    copies: Annotated[
        int | None,
        typer.Option("--copies", metavar="N", min=1, max=2, help="Copies on tape its data policy wants."),
    ] = None
    quirk: Annotated[
        list[str] | None,
        typer.Option("--quirk", metavar="NAME", help="What is awkward about it; repeatable. See: ds3tool sim quirks"),
    ] = None
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            metavar="NAME=RATE[:MOST][,...]",
            help="What goes wrong with it, how often from 0 to 1, and how many times at most; repeatable. "
            "See: ds3tool sim faults",
        ),
    ] = None
    control_port: Annotated[
        int,
        typer.Option(
            "--control-port",
            metavar="N",
            min=0,
            max=65535,
            help="Of this host alone, for sim fault, clock, tape and others; 0 takes any free one.",
        ),
    ] = 0

    @property
    def words(self) -> list[str]:
        """The words of a command line that ask for the same."""
        line: list[str] = []
        for each in fields(self):
            option = "--dir" if each.name == "directory" else f"--{each.name.replace('_', '-')}"
            value = getattr(self, each.name)
            if value is True:
                line.append(option)
            elif isinstance(value, list):
                line += [f"{option}={one}" for one in value]
            elif value is not None and value is not False:
                line.append(f"{option}={value}")
        return line

    @property
    def is_of_this_host_alone(self) -> bool:
        """Whether nobody on another host can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


WhichDirectory = Annotated[Path | None, typer.Option("--dir", metavar="DIR", help="The one that lives in DIR.")]
WhichPort = Annotated[int | None, typer.Option("--port", metavar="N", help="The one at this port.")]
