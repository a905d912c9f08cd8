"""`ds3tool sim fault`: what goes wrong with a running appliance, shown and changed through its controls."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ds3tool.cli.appliances import find
from ds3tool.cli.options import command
from ds3tool.cli.output import Field
from ds3tool.cli.settings import Settings
from ds3tool.cli.sim_controls import ask
from ds3tool.cli.sim_options import WhichDirectory, WhichPort
from ds3tool.lazy_dataclass import dataclass

Rates = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME=RATE[:MOST]",
        show_default=False,
        help="How often a fault strikes, from 0 to 1, and how many times at most. See: ds3tool sim faults",
    ),
]
Clear = Annotated[bool, typer.Option("--clear", metavar="", help="Put all rates to zero first.")]


@dataclass(frozen=True, slots=True)
class FaultRow:
    """One fault of a running appliance; `left` times it may yet strike, None for any number."""

    name: str
    rate: float
    left: int | None
    struck: int
    does: str
    against: str
    seed: int


FIELDS: list[Field[FaultRow]] = [
    Field("name", lambda row: row.name, heading="fault"),
    Field("rate", lambda row: row.rate, text=lambda rate: f"{rate:g}" if rate else "-", right=True),
    Field("left", lambda row: row.left, right=True),
    Field("struck", lambda row: row.struck, text=lambda count: f"{count:,}", right=True),
    Field("does", lambda row: row.does),
    Field("against", lambda row: row.against, tabled=False),
    Field("seed", lambda row: row.seed, tabled=False),
]


def fault(
    *,
    rates: Rates = None,
    clear: Clear = False,
    directory: WhichDirectory = None,
    port: WhichPort = None,
    settings: Settings,
) -> None:
    """Show what goes wrong with a running appliance, and how often it has; with rates, change that first.

    Faults that are not named stay as they are. The appliance is the one started last, unless --dir or --port names
    another.
    """
    appliance = find(settings.state_path, directory=directory, port=port)
    change = {"clear": clear, "rates": rates or []} if rates or clear else None
    settings.results().records(_rows(ask(appliance, "/faults", change)), FIELDS)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    command(
        app,
        "fault",
        examples=[
            "ds3tool sim fault",
            "ds3tool sim fault lost-reply=0.05 short-get=0.05",
            "ds3tool sim fault job-expired=1:1",
            "ds3tool sim fault --clear",
        ],
    )(fault)


def _rows(told: dict[str, Any]) -> list[FaultRow]:
    return [
        FaultRow(each["name"], each["rate"], each["most"], each["struck"], each["does"], each["against"], told["seed"])
        for each in told["faults"]
    ]
