"""`ds3tool where`: which tapes and pools hold what."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ds3tool.cli.options import command
from ds3tool.cli.output import Field
from ds3tool.cli.selection import parse_selection, selected_objects
from ds3tool.cli.settings import Settings, connect
from ds3tool.errors import UsageError
from ds3tool.jobs.copies import Copies, copies_of
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import names
from ds3tool.protocol.model import ObjectToGet, PlacedBlob, Pool, Tape, TapeState

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True)
class ObjectPlacement:
    """An object and the media that hold it: tapes by bar code, pools by name.

    `copies` counts the complete ones that can be read, if need be from a shelf: the blob that has the fewest decides.
    """

    key: str
    blobs: int
    in_cache: bool
    tapes: tuple[Tape, ...]
    pools: tuple[Pool, ...]
    copies: Copies


def placement_of(key: str, blobs: Sequence[PlacedBlob]) -> ObjectPlacement:
    """Return where the object is whose blobs these are; without blobs it is nowhere."""
    tapes = {tape.id: tape for placed in blobs for tape in placed.placement.tapes}
    pools = {pool.id: pool for placed in blobs for pool in placed.placement.pools}
    return ObjectPlacement(
        key=key,
        blobs=len(blobs),
        in_cache=bool(blobs) and all(placed.blob.in_cache for placed in blobs),
        tapes=tuple(sorted(tapes.values(), key=lambda tape: tape.bar_code)),
        pools=tuple(sorted(pools.values(), key=lambda pool: pool.name)),
        copies=copies_of(blobs),
    )


def _is_ejected(tape: Tape) -> bool:
    return tape.state is TapeState.EJECTED


def _tape(tape: Tape) -> dict[str, Any]:
    return {
        "bar_code": tape.bar_code,
        "state": tape.state,
        "ejected": _is_ejected(tape),
        "label": tape.eject_label,
        "location": tape.eject_location,
    }


def _tapes_text(tapes: Sequence[dict[str, Any]]) -> str:
    told = []
    for tape in tapes:
        shelf = [text for text in (tape["label"], tape["location"]) if text]
        state = "" if tape["state"] == TapeState.NORMAL else f" ({' '.join([str(tape['state']), *shelf])})"
        told.append(f"{tape['bar_code']}{state}")
    return ", ".join(told)


FIELDS: list[Field[ObjectPlacement]] = [
    Field("in_cache", lambda placement: placement.in_cache),
    Field("copies", lambda placement: placement.copies.total, right=True),
    Field("copies_online", lambda placement: placement.copies.online, tabled=False),
    Field("tapes", lambda placement: [_tape(tape) for tape in placement.tapes], text=_tapes_text),
    Field(
        "pools",
        lambda placement: [{"name": pool.name, "state": pool.state} for pool in placement.pools],
        text=lambda pools: ", ".join(pool["name"] for pool in pools),
    ),
    Field("blobs", lambda placement: placement.blobs, right=True),
    Field("key", lambda placement: placement.key, leads=True),
]


@command(
    app,
    "where",
    examples=[
        "ds3tool where ds3://archive/2024/reel-1.mxf",
        "ds3tool where -r -o csv ds3://archive/2024/",
        "ds3tool where 'ds3://archive/2024/*.mxf'",
    ],
)
def show_placement(
    address: Annotated[str, typer.Argument(metavar="ds3://BUCKET/KEY", help="An object, a prefix with -r, a pattern.")],
    *,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", metavar="", help="Everything below the address.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", metavar="", help="Wildcards in the address stand for themselves.")
    ] = False,
    settings: Settings,
) -> None:
    """Show which tapes and pools hold an object, and whether it is in the cache; nothing is mounted.

    A copy counts when it can be read, an ejected tape's too; lost or bad tapes are shown, and are no copies.
    """
    selection = parse_selection(address, recursive=recursive, raw=raw)
    if not selection.whole and not recursive and selection.pattern is None:
        raise UsageError(f"{selection} is not one object", hint="add -r for everything below it")
    output = settings.results()
    with connect(settings) as client:
        keys = (item.key for item in selected_objects(client, selection))
        output.records(_placements(client, selection.bucket, keys), FIELDS)


def _placements(client: Ds3Client, bucket: str, keys: Iterator[str]) -> Iterator[ObjectPlacement]:
    while batch := list(itertools.islice(keys, names.MAX_KEYS_PER_REQUEST)):
        blobs: dict[str, list[PlacedBlob]] = {key: [] for key in batch}
        for placed in client.get_blob_placement(bucket, [ObjectToGet(key) for key in batch]):
            blobs.setdefault(placed.blob.key, []).append(placed)
        for key in batch:
            yield placement_of(key, blobs[key])
