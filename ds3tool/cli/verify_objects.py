"""`ds3tool verify objects`: the cheap check, against the appliance's records and against local files."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ds3tool.cli import messages
from ds3tool.cli.choice import Choice
from ds3tool.cli.lookup import base_of, chosen, everything_at
from ds3tool.cli.output import Field
from ds3tool.cli.selection import Selection, selected_objects
from ds3tool.cli.settings import Settings, connect
from ds3tool.cli.verification import RESULT_FIELDS, Address, Raw, Verification, end, tell
from ds3tool.errors import UsageError
from ds3tool.filters import Filter
from ds3tool.jobs.verification import Finding, Problem, expectation_of, verify_objects
from ds3tool.protocol import names
from ds3tool.protocol.model import ObjectToGet

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client

AS_SENT_FIELD: Field[Verification] = Field("as_sent", lambda result: result.as_sent)
EXAMPLES = (
    "ds3tool verify objects ds3://archive/2024/",
    "ds3tool verify objects ds3://archive/2024/ --against /data/2024",
    "ds3tool verify objects --newer 7d -o json ds3://archive",
)


def objects(
    address: Address,
    *,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="PATH", help="Digest the files there, and compare; nothing is fetched."),
    ] = None,
    raw: Raw = False,
    choice: Choice,
    settings: Settings,
) -> None:
    """Check objects without mounting a tape: complete, whole, with digests, on as many media as the policy promises.

    A copy on a tape that is lost or bad is none; one on an ejected tape counts. An object of which every copy is on a
    shelf fails with exit code 8, unless it is in the cache. What this host has put, as far as its journals still know
    it, is compared with what was sent. With --against, the files below PATH are digested and compared with the digests
    that the appliance states. What differs fails with 5, what is missing on either side with 3. Whether the media can
    still be read, only ds3tool verify job and verify sample tell.
    """
    from ds3tool.jobs.ledger import BucketLedger
    from ds3tool.sources.counterpart import LocalFiles

    wanted = choice.filter()
    files = None if against is None else LocalFiles(against)
    output = settings.results()
    result = Verification()
    with connect(settings) as client:
        selection = everything_at(client, address, raw=raw)
        if files is not None and not files.is_folder and not selection.whole:
            raise UsageError(f"{against} is one file, and {selection} is not one object", hint="give a folder")
        base = base_of(selection)
        ledger = BucketLedger(settings.state_path, client.get_bucket(selection.bucket).id)
        expectation = replace(
            expectation_of(client, selection.bucket),
            counterpart=files,
            ledger=None if ledger.is_empty else ledger,
            base=len(base),
        )
        listed = chosen(selected_objects(client, selection), selection, wanted)

        def findings() -> Generator[Finding]:
            yield from verify_objects(client, selection.bucket, listed, expectation)
            if against is not None and not selection.whole:
                yield from _not_archived(client, against, base, selection, wanted)

        tell(findings(), result, output)
    for trouble in ledger.troubles:
        messages.warn(f"not compared with what a journal has: {trouble.message}")
    end(result, output, settings, [*RESULT_FIELDS, AS_SENT_FIELD])


def _not_archived(client: Ds3Client, path: str, base: str, selection: Selection, wanted: Filter) -> Iterator[Finding]:
    """Yield the files below `path` that are not on the appliance, of those that the address and the options mean."""
    from ds3tool.sources.local import LocalSource

    source = LocalSource(path, prefix=base)
    found = (
        one
        for one in source.objects()
        if selection.selects(one.key)
        and wanted.accepts(one.key[len(base) :], size=one.size, modified_ns=one.modified_ns)
    )
    while batch := list(itertools.islice(found, names.MAX_KEYS_PER_REQUEST)):
        asked = [ObjectToGet(one.key) for one in batch]
        there = {placed.blob.key for placed in client.get_blob_placement(selection.bucket, asked)}
        for one in batch:
            if one.key not in there:
                yield Finding(one.key, one.size, (Problem(f"is in {path}, and not on the appliance"),))
    for failure in source.failures:
        yield Finding(failure.name, 0, (Problem(failure.error.message),))
    for note in source.skipped:
        messages.warn(f"{note}: not compared")
