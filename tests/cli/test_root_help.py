"""`ds3tool --help` is what Typer would print, and is there before Typer could be imported."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from importlib.metadata import version
from typing import Any

import pytest
import typer
import typer.main

from ds3tool.cli import tree
from ds3tool.cli.coercion import PlainCommand
from ds3tool.cli.root_help import laid_out, root_help
from ds3tool.cli.root_help_page import LAID_OUT_BY
from tests.cli.root_help_writer import cells, typers_command, typers_help
from tests.cli.test_main import external

_WRITE = "write it anew: python -m tests.cli.root_help_writer"
same_layout = pytest.mark.skipif(
    {name: version(name) for name in LAID_OUT_BY} != LAID_OUT_BY, reason=f"laid out by other releases; {_WRITE}"
)


class Screen(io.StringIO):
    """Where a page is to be printed: a terminal or a file, of some encoding."""

    def __init__(self, *, terminal: bool = False, encoding: str = "utf-8") -> None:
        super().__init__()
        self._terminal, self._encoding = terminal, encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a stream's own is what is tried here
        return self._encoding

    def isatty(self) -> bool:
        return self._terminal


def letters(page: str) -> list[str]:
    """Return the words of a page, whatever the lines."""
    return " ".join(line.strip("│╭╰╮╯─ ") for line in page.splitlines()).split()


def test_the_prepared_help_says_what_typer_says() -> None:
    """Every option, command and sentence of the top-level help stands in the prepared one, and nothing else does."""
    page = root_help(Screen(), {"COLUMNS": "1000"})
    assert page is not None
    assert letters(page) == letters(typers_help(1000, coloured=False)), _WRITE


@same_layout
@pytest.mark.parametrize("width", [80, 131])
def test_the_prepared_help_is_laid_out_as_typers(width: int) -> None:
    """Line for line, at each width, without colour and with it."""
    assert root_help(Screen(), {"COLUMNS": str(width)}) == typers_help(width, coloured=False)
    coloured = root_help(Screen(terminal=True), {"COLUMNS": str(width), "TERM": "xterm"})
    assert coloured == laid_out(width)
    typers = typers_help(width, coloured=True).splitlines()
    assert [cells(line) for line in coloured.splitlines()] == [cells(line) for line in typers]


@same_layout
def test_a_terminal_is_asked_for_its_width() -> None:
    """In a terminal of 97 columns the program prints, in colour, what Typer prints there."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 97, 0, 0))
    environ = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    with subprocess.Popen(
        [sys.executable, "-m", "ds3tool", "-h"], stdin=its, stdout=its, stderr=its, env=environ
    ) as program:
        os.close(its)
        printed = b""
        try:
            while block := os.read(ours, 65536):
                printed += block
        except OSError:  # the other end of a terminal is closed
            pass
        os.close(ours)
    assert program.returncode == 0
    typers = typers_help(97, coloured=True).splitlines()
    assert [cells(line) for line in printed.decode().splitlines()] == [cells(line) for line in typers]


@pytest.mark.parametrize(
    "environ",
    [
        {"COLUMNS": "79"},
        {"COLUMNS": "1001"},
        {"TERM": "dumb"},
        {"NO_COLOR": "1"},
        {"FORCE_COLOR": ""},
        {"TYPER_USE_RICH": "0"},
        {"TERMINAL_WIDTH": "90"},
        {"_DS3TOOL_COMPLETE": "complete_bash"},
    ],
    ids=repr,
)
def test_what_changes_the_help_is_left_to_typer(environ: dict[str, str]) -> None:
    """Where more than the width decides what is printed, no page is prepared."""
    assert root_help(Screen(), environ) is None


def test_a_page_without_its_lines_is_left_to_typer() -> None:
    """Where the encoding has no lines for boxes, no page is prepared."""
    assert root_help(Screen(encoding="ascii"), {"COLUMNS": "80"}) is None
    assert root_help(Screen(encoding="UTF8"), {"COLUMNS": "80"}) is not None


def test_completion_knows_every_command_without_building_one() -> None:
    """A shell is told each command and what Typer would say of it; none of their modules is asked."""
    command: Any = typer.main.get_command(tree.app)
    context = command.make_context("ds3tool", [], resilient_parsing=True)
    told = {item.value: item.help for item in command.shell_complete(context, "")}
    assert told == {name: typers_command().get_command(context, name).get_short_help_str() for name in tree.COMMANDS}
    assert {type(each) for each in command.commands.values()} == {PlainCommand}
    assert not any(each.params for each in command.commands.values())


def test_help_and_version_wait_for_no_import() -> None:
    """Neither loads Typer, rich, logging or any command; without a command the help is told, and the code is 2."""
    code = (
        "import os, sys; from ds3tool.cli.main import main; from ds3tool.cli.root_help import TYPERS_OWN;"
        "[os.environ.pop(name, None) for name in (*TYPERS_OWN, 'TERM', 'COLUMNS')];"
        "codes = [main(line) for line in (['--version'], ['--help'], ['-h'], [])];"
        "loaded = {'typer', 'rich', 'logging', 'typing', 'dataclasses', 'ds3tool.cli.tree'} & set(sys.modules);"
        "sys.exit(repr((codes, loaded)) if loaded or codes != [0, 0, 0, 2] else 0)"
    )
    external(code=code).expect()
