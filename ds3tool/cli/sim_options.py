"""The options of `ds3tool sim`: what an appliance is like, and which of those that run is meant."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where it listens.")]
Port = Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes any free one.")]
Directory = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="Where its state is kept, and continued; else it goes with it."),
]
AccessKey = Annotated[str | None, typer.Option("--access-key", metavar="ID", help="Else one is made up.")]
SecretKey = Annotated[
    str | None,
    typer.Option("--secret-key", metavar="KEY", help="Else one is made up; others on this host can read it."),
]
BlobSize = Annotated[str | None, typer.Option("--blob-size", metavar="SIZE", help="Blobs of a put, as in 64MiB.")]
ChunkSize = Annotated[str | None, typer.Option("--chunk-size", metavar="SIZE", help="Most bytes of a chunk.")]
CacheSize = Annotated[str | None, typer.Option("--cache-size", metavar="SIZE", help="Room in the cache.")]
RetryAfter = Annotated[
    int | None, typer.Option("--retry-after", metavar="SECONDS", min=0, help="What its replies ask clients to wait.")
]
PersistDelay = Annotated[
    str | None, typer.Option("--persist-delay", metavar="SECONDS", help="From a chunk's last byte to its way to tape.")
]
Tapes = Annotated[int | None, typer.Option("--tapes", metavar="N", min=0, help="Tapes in its library.")]
Drives = Annotated[int | None, typer.Option("--drives", metavar="N", min=1, help="Tape drives.")]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Makes ids and keys, and what goes wrong, repeatable.")
]


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


Kept = Annotated[
    VersioningChoice | None,
    typer.Option("--versioning", help="What a new one's data policy does with a second put of a key; else none."),
]
Checksum = Annotated[
    ChecksumChoice | None, typer.Option("--checksum-type", help="What its data policy protects blobs with; else md5.")
]
Copies = Annotated[
    int | None, typer.Option("--copies", metavar="N", min=1, max=2, help="Copies on tape its data policy wants.")
]

Quirks = Annotated[
    list[str] | None,
    typer.Option("--quirk", metavar="NAME", help="What is awkward about it; repeatable. See: ds3tool sim quirks"),
]

Faults = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="NAME=RATE[:MOST][,...]",
        help="What goes wrong with it, how often from 0 to 1, and how many times at most; repeatable. "
        "See: ds3tool sim faults",
    ),
]
ControlPort = Annotated[
    int,
    typer.Option(
        "--control-port", metavar="N", min=0, max=65535, help="Of this host alone, for sim fault; 0 takes any free one."
    ),
]

WhichDirectory = Annotated[Path | None, typer.Option("--dir", metavar="DIR", help="The one that lives in DIR.")]
WhichPort = Annotated[int | None, typer.Option("--port", metavar="N", help="The one at this port.")]
