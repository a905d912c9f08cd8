"""`ds3tool tape`: cartridges, in the library and on the shelf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from ds3tool.cli import messages
from ds3tool.cli.failures import FAILURE_FIELDS, Failure, failures_of, judged
from ds3tool.cli.options import command, group
from ds3tool.cli.output import Field, OutputFormat, as_mapping
from ds3tool.cli.settings import Settings, connect
from ds3tool.errors import ApplianceError, NotFoundError
from ds3tool.protocol.model import Tape, TapeState
from ds3tool.sizes import format_size

app = group("tape", "List tapes, let them out of the library, take them back in.")

BarCodes = Annotated[list[str], typer.Argument(metavar="BAR_CODE...", help="The tapes' bar codes.")]


FIELDS: list[Field[Tape]] = [
    Field("bar_code", lambda tape: tape.bar_code),
    Field("state", lambda tape: tape.state),
    Field("type", lambda tape: tape.type),
    Field("available_bytes", lambda tape: tape.available_bytes, heading="free", text=format_size, right=True),
    Field("total_bytes", lambda tape: tape.total_bytes, heading="size", text=format_size, right=True),
    Field("full", lambda tape: tape.full),
    Field("write_protected", lambda tape: tape.write_protected, tabled=False),
    Field("assigned", lambda tape: tape.assigned_to_storage_domain),
    Field("ejected", lambda tape: tape.state is TapeState.EJECTED, tabled=False),
    Field("eject_date", lambda tape: tape.eject_date, heading="ejected", tabled=False),
    Field("label", lambda tape: tape.eject_label),
    Field("location", lambda tape: tape.eject_location),
    Field("bucket_id", lambda tape: tape.bucket_id, tabled=False),
    Field("partition_id", lambda tape: tape.partition_id, tabled=False),
    Field("previous_state", lambda tape: tape.previous_state, tabled=False),
    Field("serial_number", lambda tape: tape.serial_number, tabled=False),
    Field("last_accessed", lambda tape: tape.last_accessed, tabled=False),
    Field("last_verified", lambda tape: tape.last_verified, tabled=False),
    Field("id", lambda tape: tape.id, tabled=False),
]
# One tape has room for all that is known of it.
_ALL_FIELDS: list[Field[Tape]] = [
    Field(each.name, each.get, heading=each.heading if each.tabled else None, text=each.text) for each in FIELDS
]


@command(app, "ls", examples=["ds3tool tape ls", "ds3tool tape ls --state EJECTED -o csv"])
def list_tapes(
    *,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help="Tapes in this state: NORMAL, EJECTED, OFFLINE, ...")
    ] = None,
    settings: Settings,
) -> None:
    """List the tapes the appliance knows, those on the shelf included."""
    wanted = None if state is None else TapeState(state.upper())
    output = settings.results()
    with connect(settings) as client:
        output.records(client.list_tapes(state=wanted), FIELDS)


@command(app, "show", examples=["ds3tool tape show S00001L9"])
def show_tape(
    bar_code: Annotated[str, typer.Argument(metavar="BAR_CODE", help="The tape's bar code, or its id.")],
    *,
    settings: Settings,
) -> None:
    """Show all that is known of one tape."""
    with connect(settings) as client:
        settings.results().record(client.get_tape(bar_code), _ALL_FIELDS)


@command(
    app, "eject", examples=["ds3tool tape eject S00001L9", "ds3tool tape eject S00001L9 S00002L9 --location 'vault 3'"]
)
def eject(
    bar_codes: BarCodes,
    *,
    label: Annotated[str | None, typer.Option("--label", metavar="TEXT", help="Written down with each tape.")] = None,
    location: Annotated[str | None, typer.Option("--location", metavar="TEXT", help="Where each tape goes.")] = None,
    settings: Settings,
) -> None:
    """Let tapes out of the library; objects that are nowhere else cannot be restored until they are back."""
    with connect(settings) as client:
        _each(bar_codes, lambda code: client.eject_tape(code, label=label, location=location), settings)


@command(app, "online", examples=["ds3tool tape online S00001L9"])
def online(bar_codes: BarCodes, *, settings: Settings) -> None:
    """Take tapes back in that were ejected, or brought back to the library."""
    with connect(settings) as client:
        _each(bar_codes, client.online_tape, settings)


def _each(bar_codes: list[str], act: Callable[[str], Tape], settings: Settings) -> None:
    """Act on each tape, show those it worked for, and end with an error that lists the others."""
    output = settings.results()
    done: list[Tape] = []
    failures: list[Failure] = []
    for bar_code in bar_codes:
        try:
            tape = act(bar_code)
        except ApplianceError as error:
            if len(bar_codes) == 1:
                raise
            failures.append(Failure(bar_code, error.message, missing=isinstance(error, NotFoundError)))
            output.event(failures[-1], FAILURE_FIELDS)
        else:
            done.append(tape)
            output.event(tape, FIELDS)
    failed = judged(tuple(failures), done=len(done), what="tapes failed")
    if output.shape is OutputFormat.JSON:
        output.finish(
            done,
            [
                Field("tapes", lambda tapes: [as_mapping(tape, FIELDS) for tape in tapes]),
                Field("failed", lambda _: failures_of(tuple(failures))),
            ],
            failed,
        )
        return
    if output.shape is not OutputFormat.NDJSON:
        output.records(done, FIELDS)
    for failure in failures:
        messages.warn(f"{failure.key}: {failure.error}")
    if failed is not None:
        raise failed
