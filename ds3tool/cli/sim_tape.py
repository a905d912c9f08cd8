"""`ds3tool sim tape` and `sim drive`: the hands at a running appliance's library, and what breaks in it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ds3tool.cli import messages
from ds3tool.cli.appliances import find
from ds3tool.cli.options import command
from ds3tool.cli.output import Field, OutputFormat
from ds3tool.cli.settings import Settings
from ds3tool.cli.sim_controls import ask
from ds3tool.cli.sim_options import WhichDirectory, WhichPort
from ds3tool.errors import UsageError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import format_size

Told = Mapping[str, Any]


class TapeAct(StrEnum):
    """What hands do to tapes."""

    LIST = "ls"
    INSERT = "insert"
    TAKE = "take"
    RETURN = "return"
    REMOVE = "remove"
    DAMAGE = "damage"
    PROTECT = "protect"
    EXPORT = "export"
    MAKE = "make"
    ATTEND = "attend"


class DriveAct(StrEnum):
    """What becomes of drives."""

    LIST = "ls"
    FAIL = "fail"
    MEND = "mend"
    SOIL = "soil"


@dataclass(frozen=True, slots=True)
class _Way:
    """How an act is asked for: the options it takes, those of them it needs, and whether it takes a bar code."""

    options: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    tape: bool | None = True  # None: it may be left out


_WAYS: dict[TapeAct, _Way] = {
    TapeAct.LIST: _Way(tape=False),
    TapeAct.INSERT: _Way(("type", "cleaning", "uses", "from", "shelf", "stay"), tape=None),
    TapeAct.TAKE: _Way(),
    TapeAct.RETURN: _Way(("shelf", "online")),
    TapeAct.REMOVE: _Way(),
    TapeAct.DAMAGE: _Way(("flip", "seed")),
    TapeAct.PROTECT: _Way(("off",)),
    TapeAct.EXPORT: _Way(("to",), ("to",)),
    TapeAct.MAKE: _Way(("to", "files", "type"), ("to", "files"), tape=None),
    TapeAct.ATTEND: _Way(("off",), tape=False),
}
_PLACES = {"slot": "storage slots", "hand": "robot's hand", "port": "entry/exit slots"}


def told_doing(doing: str) -> str:
    """Return what a drive does, for people: for which job, JSON tells."""
    return doing.partition(",")[0]


def _field(name: str, heading: str | None = None, *, tabled: bool = True, size: bool = False) -> Field[Told]:
    text = format_size if size else None
    return Field(name, lambda told: told[name], heading=heading, text=text, right=size, tabled=tabled)


TAPE_FIELDS: list[Field[Told]] = [
    _field("bar_code"),
    _field("type"),
    _field("state"),
    _field("place"),
    _field("written", size=True),
    _field("capacity", "size", size=True),
    _field("full", tabled=False),
    _field("assigned", tabled=False),
    _field("protected"),
    _field("damaged"),
    _field("cleanings_left", tabled=False),
    _field("label"),
    _field("location"),
]
DRIVE_FIELDS: list[Field[Told]] = [
    _field("serial_number", "drive"),
    _field("type"),
    _field("state"),
    _field("cleaning_required", "dirty"),
    _field("tape"),
    _field("mounts"),
    Field("doing", lambda told: told.get("doing"), text=told_doing),
    _field("error"),
]
_ACTED_FIELDS: list[Field[Told]] = [
    *(Field[Told](each.name, lambda told, name=each.name: told.get("tape", {}).get(name)) for each in TAPE_FIELDS),  # type: ignore[misc]  # bound now
    Field("flipped", lambda told: told.get("flipped")),
    Field("index", lambda told: told.get("index")),
    Field("attended", lambda told: told.get("attended")),
]


def tape(
    act: Annotated[TapeAct, typer.Argument(metavar="[ACT]", show_default=False, help="One of those above.")] = (
        TapeAct.LIST
    ),
    bar_code: Annotated[
        str | None, typer.Argument(metavar="[BAR_CODE]", show_default=False, help="The tape; of a new one, its own.")
    ] = None,
    *,
    kind: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="insert, make: LTO5 to LTO9; else as its drives.")
    ] = None,
    cleaning: Annotated[bool, typer.Option("--cleaning", metavar="", help="insert: one that cleans drives.")] = False,
    uses: Annotated[
        int | None, typer.Option("--uses", metavar="N", min=1, help="insert --cleaning: how often; else 50.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="PATH", help="insert: one exported or made, by index or folder.")
    ] = None,
    shelf: Annotated[
        bool, typer.Option("--shelf", metavar="", help="insert, return: by the door into a storage slot.")
    ] = False,
    stay: Annotated[
        bool, typer.Option("--stay", metavar="", help="insert: leave it in its entry/exit slot, OFFLINE.")
    ] = False,
    online: Annotated[bool, typer.Option("--online", metavar="", help="return: also have it onlined.")] = False,
    flip: Annotated[
        int | None, typer.Option("--flip", metavar="N", min=1, help="damage: only one bit in each of N blobs on it.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", min=0, help="damage --flip: chooses blobs and bits.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", metavar="", help="protect, attend: not any more.")] = False,
    to: Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="export, make: where its files go.")] = None,
    files: Annotated[Path | None, typer.Option("--files", metavar="FOLDER", help="make: what is to be on it.")] = None,
    directory: WhichDirectory = None,
    port: WhichPort = None,
    settings: Settings,
) -> None:
    """List the tapes of a running appliance as its operator sees them, and do what hands do to them.

    `insert` puts one in: blank, for cleaning, or one that another appliance has written. `take` takes one out of its
    entry/exit slot, `return` puts it back. `remove` takes one out of its storage slot without a word: it is LOST.
    `damage` lets no drive read it any more, or with --flip changes some of its bits. `protect` sets its tab against
    writing.

    `export` copies one that is outside into a folder, for another appliance. `make` makes one there that no appliance
    has written, with files on it. `attend` says that somebody is there, who takes ejected tapes out at once and puts
    those in that are onlined; --off that nobody is.

    What the appliance itself is asked for, such as an ejection, goes through it: ds3tool tape eject.
    """
    given: dict[str, object] = {
        "type": kind,
        "cleaning": cleaning,
        "uses": uses,
        "from": source,
        "shelf": shelf,
        "stay": stay,
        "online": online,
        "flip": flip,
        "seed": seed,
        "off": off,
        "to": to,
        "files": files,
    }
    given = {name: value for name, value in given.items() if value is not None and value is not False}
    _check(act, bar_code, given)
    appliance = find(settings.state_path, directory=directory, port=port)
    if act is TapeAct.LIST:
        _list(ask(appliance, "/tapes"), settings)
    else:
        _tell(ask(appliance, "/tapes", _document(act, bar_code, given)), settings)


def _check(act: TapeAct, bar_code: str | None, given: Mapping[str, object]) -> None:
    way = _WAYS[act]
    for name in given:
        if name not in way.options:
            acts = [each for each, other in _WAYS.items() if name in other.options]
            raise UsageError(f"--{name} means nothing to {act}", hint=f"it goes with: {', '.join(acts)}")
    for name in way.needed:
        if name not in given:
            raise UsageError(f"{act} needs --{name}", hint="see: ds3tool sim tape --help")
    if way.tape and bar_code is None:
        raise UsageError(f"{act} needs a bar code", hint="see which there are: ds3tool sim tape")
    if way.tape is False and bar_code is not None:
        raise UsageError(f"{act} takes no bar code", hint="see: ds3tool sim tape --help")
    if "seed" in given and "flip" not in given:
        raise UsageError("a --seed chooses which bits are flipped", hint="add --flip N")


def _document(act: TapeAct, bar_code: str | None, given: Mapping[str, object]) -> dict[str, object]:
    """Return the question for the controls, which know nothing of the folder that the command was typed in."""
    words = {"from": "path", "to": "folder", "flip": "count"}
    document: dict[str, object] = {
        words.get(name, name): str(value.resolve()) if isinstance(value, Path) else value
        for name, value in given.items()
    }
    if bar_code is not None:
        document["bar_code" if _WAYS[act].tape is None else "tape"] = bar_code
    return {**document, "act": "flip" if "flip" in given else act.value}


def _list(told: Told, settings: Settings) -> None:
    settings.results().records(told["tapes"], TAPE_FIELDS)
    if settings.output is OutputFormat.TABLE:
        slots, ports = told["slots"], told["entry_exit_slots"]
        attended = "taken out at once" if told["attended"] else "left for sim tape take"
        messages.note(
            f"{slots['free']:,} of {slots['all']:,} storage slots are free, {ports['free']:,} of {ports['all']:,} "
            f"entry/exit slots; ejected tapes are {attended}",
            quiet=settings.quiet,
        )


def _tell(told: Told, settings: Settings) -> None:
    if settings.output is not OutputFormat.TABLE:
        settings.results().record(told, _ACTED_FIELDS)
        return
    sentences = []
    if "tape" in told:
        place = told["tape"]["place"]
        where = f"in the {_PLACES[place]}" if place in _PLACES else place
        sentences.append(f"{told['tape']['bar_code']} is {told['tape']['state']}, {where}")
    if "flipped" in told:
        sentences.append(f"{told['flipped']:,} of its blobs have one bit that is another")
    if "index" in told:
        sentences.append(f"written: {told['index']}")
    if "attended" in told:
        sentences.append("somebody attends" if told["attended"] else "nobody attends: ejected tapes wait to be taken")
    for sentence in sentences:
        messages.note(sentence, quiet=settings.quiet)


def drive(
    act: Annotated[DriveAct, typer.Argument(metavar="[ACT]", show_default=False, help="ls, fail, mend or soil.")] = (
        DriveAct.LIST
    ),
    serial: Annotated[
        str | None, typer.Argument(metavar="[DRIVE]", show_default=False, help="Its serial number, or its id.")
    ] = None,
    *,
    message: Annotated[str | None, typer.Option("--message", metavar="TEXT", help="fail: what it says then.")] = None,
    directory: WhichDirectory = None,
    port: WhichPort = None,
    settings: Settings,
) -> None:
    """List the drives of a running appliance and what they do; let one fail, mend it, or let it ask for cleaning.

    One that fails is in ERROR, whatever it was at, and others take that over. One that is soiled is cleaned when the
    library has a cleaning tape.
    """
    if message is not None and act is not DriveAct.FAIL:
        raise UsageError(f"--message means nothing to {act}", hint="it goes with: fail")
    if (serial is None) != (act is DriveAct.LIST):
        what = "needs a drive" if serial is None else "takes no drive"
        raise UsageError(f"{act} {what}", hint="see which there are: ds3tool sim drive")
    change: dict[str, object] = {"act": act.value, "drive": serial}
    if message is not None:
        change["message"] = message
    appliance = find(settings.state_path, directory=directory, port=port)
    told = ask(appliance, "/drives", None if act is DriveAct.LIST else change)
    settings.results().records(told["drives"], DRIVE_FIELDS)


def add_to(app: typer.Typer) -> None:
    """Register both commands."""
    command(
        app,
        "tape",
        examples=[
            "ds3tool sim tape",
            "ds3tool sim tape insert --cleaning",
            "ds3tool sim tape remove SIM001L8",
            "ds3tool sim tape damage SIM001L8 --flip 3 --seed 7",
            "ds3tool sim tape export SIM001L8 --to exported",
            "ds3tool sim tape insert --from exported --port 8080",
        ],
    )(tape)
    command(
        app,
        "drive",
        examples=["ds3tool sim drive", "ds3tool sim drive fail SIMDRIVE001", "ds3tool sim drive mend SIMDRIVE001"],
    )(drive)
