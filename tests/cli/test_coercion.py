"""Words of a command line are made into values without pydantic, and into the same values."""

from __future__ import annotations

import enum
import functools
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
import typer.core
import typer.main

from ds3tool.cli.coercion import PlainCommand, PlainGroup
from tests.cli.test_main import external

# Typer's own class, whose home differs between its releases.
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]


class Shape(enum.Enum):
    TABLE = "table"
    NDJSON = "ndjson"


def built(cls: type[typer.core.TyperCommand]) -> tuple[Any, dict[str, Any]]:
    """Return a command of the class `cls`, and what is filled with all that it is called with."""
    values: dict[str, Any] = {}
    app = typer.Typer(add_completion=False)

    @app.command(cls=cls)
    def act(
        *,
        words: Annotated[list[str] | None, typer.Argument()] = None,
        text: Annotated[str, typer.Option("--text", envvar="TEXT")] = "of its own",
        number: Annotated[int | None, typer.Option("--number", min=1, max=99)] = None,
        free: Annotated[int, typer.Option("--free")] = 7,
        rate: Annotated[float, typer.Option("--rate")] = 1.5,
        flag: Annotated[bool, typer.Option("--flag", envvar="FLAG")] = False,
        loud: Annotated[int, typer.Option("--loud", "-l", count=True)] = 0,
        shape: Annotated[Shape, typer.Option("--shape", envvar="SHAPE")] = Shape.TABLE,
        path: Annotated[Path | None, typer.Option("--path")] = None,
        there: Annotated[Path | None, typer.Option("--there", exists=True)] = None,
        shapes: Annotated[list[Shape] | None, typer.Option("--shapes")] = None,
        numbers: Annotated[list[int] | None, typer.Option("--numbers", max=9)] = None,
    ) -> None:
        values.clear()
        values.update((name, value) for name, value in locals().items() if name != "values")

    return typer.main.get_command(app), values


# One for all: it takes the same way with every value, where a plain one may take Typer's ever after.
typers_own = functools.cache(lambda: built(typer.core.TyperCommand))


def told(command: Any, values: dict[str, Any], line: list[str], environ: dict[str, str]) -> dict[str, Any] | str:  # noqa: ANN401 - typer's own
    """Return what a command was called with, or what its user is told."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            command.main(args=line, prog_name="act", standalone_mode=False)
    except USAGE_ERROR as error:
        return str(error.format_message())
    return dict(values)


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["a", "", "ü", "b\udcff"],
        *(["--text", value] for value in ("", "x", "\udcff", "--", " ")),
        *([f"--number={value}"] for value in ("1", "99", "0", "100", "007", " 7", "+7", "-7", "1_0", "1.0", "x", "٣")),
        *([f"--free={value}"] for value in ("0", "-0", "-12", "9" * 18, "9" * 40, "", "1e3")),
        *([f"--rate={value}"] for value in ("2", "2.5", "nan", "x")),
        ["--flag", "-lll"],
        *([f"--shape={value}"] for value in ("table", "ndjson", "TABLE", "", "tab")),
        *([f"--path={value}"] for value in ("", ".", "/nowhere/at all", "a\0b", "a\udcff", "-")),
        ["--there=/"],
        ["--there=/nowhere/at/all"],
        ["--shapes=table", "--shapes=ndjson"],
        ["--shapes=table", "--shapes=nothing"],
        ["--numbers=1", "--numbers=9"],
        ["--numbers=1", "--numbers=10"],
        ["--nothing"],
    ],
    ids=repr,
)
def test_a_value_is_what_typer_makes_of_it(line: list[str]) -> None:
    """Each word becomes the value that Typer's own command gives, of the same type, or the same complaint."""
    plain, typers = told(*built(PlainCommand), line, {}), told(*typers_own(), line, {})
    assert repr(plain) == repr(typers)


@pytest.mark.parametrize(
    "environ",
    [{"TEXT": "x", "SHAPE": "ndjson"}, {"SHAPE": "none"}, *({"FLAG": value} for value in ("1", "no", "", "true", "2"))],
    ids=repr,
)
def test_a_variable_is_what_typer_makes_of_it(environ: dict[str, str]) -> None:
    """A variable's text becomes the value that Typer's own command gives, or the same complaint."""
    plain, typers = told(*built(PlainCommand), [], environ), told(*typers_own(), [], environ)
    assert repr(plain) == repr(typers)


@pytest.mark.parametrize("line", [["ls", "-o", "json", "no//address"], ["job", "-h"]])
def test_no_command_waits_for_pydantic(line: list[str]) -> None:
    """A command whose options are text, numbers, names and paths runs without the import that costs most."""
    code = "import sys; from ds3tool.cli.main import main; main(sys.argv[1:]); sys.exit('pydantic' in sys.modules)"
    external(*line, code=code).expect()


def test_every_command_takes_plain_values() -> None:
    """No command or group is of Typer's own class, which would import pydantic for its defaults."""
    from ds3tool.cli import tree

    def foreign(command: Any, path: str) -> list[str]:  # noqa: ANN401 - typer keeps its classes private
        below = command.list_commands(None) if hasattr(command, "list_commands") else []
        found = [each for name in below for each in foreign(command.get_command(None, name), f"{path} {name}")]
        return found if isinstance(command, PlainCommand | PlainGroup) else [path, *found]

    assert foreign(typer.main.get_command(tree.app), "ds3tool") == []
