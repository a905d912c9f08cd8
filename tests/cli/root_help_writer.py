"""Writes `ds3tool/cli/root_help_page.py` from what Typer prints: `python -m tests.cli.root_help_writer`."""

from __future__ import annotations

import contextlib
import functools
import io
import re
from collections.abc import Iterator
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
import typer.rich_utils

from ds3tool.cli import tree

PAGE = Path(tree.__file__).with_name("root_help_page.py")
_WIDTH = 1000
_CODE = re.compile(r"(\x1b\[[0-9;]*m)")
_NOTE = re.compile(r"\[default: [^\]]*\]$")
_HEAD = '''"""What the top-level help says. Written by `python -m tests.cli.root_help_writer`; not to be edited."""

# ruff: noqa: E501

# The releases whose layout this is.
LAID_OUT_BY = {versions}

# Panels: a title (None for text between panels) and rows of what stands left, the text, and a note after it.
PAGE: tuple[tuple[str | None, tuple[tuple[str, str, str], ...]], ...] = (
'''

Cell = tuple[str, str]  # a character and the code of its style, "" for none


@functools.cache
def typers_command() -> Any:  # noqa: ANN401 - typer keeps its classes private
    """Return the whole tree of commands, as Typer builds it."""
    return typer.main.get_command(tree.app)


@functools.cache
def typers_help(width: int, *, coloured: bool) -> str:
    """Return what Typer prints for `ds3tool --help` in a terminal of so many columns."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(typer.rich_utils, "MAX_WIDTH", width)
        patch.setattr(typer.rich_utils, "FORCE_TERMINAL", coloured)
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
            patch.delenv(name, raising=False)
        patch.setenv("TERM", "xterm")
        typers_command().main(args=["--help"], prog_name="ds3tool", standalone_mode=False)
    return printed.getvalue()


def cells(line: str) -> list[Cell]:
    """Return each character of a coloured line with its style; of spaces none can be seen."""
    found, style = [], ""
    for piece in _CODE.split(line):
        if piece.startswith("\x1b"):
            style = "" if piece == "\x1b[0m" else piece
        else:
            found += [(letter, style if letter != " " else "") for letter in piece]
    return found


def _text(of: list[Cell]) -> str:
    return "".join(letter for letter, _ in of)


def _coloured(of: list[Cell]) -> str:
    """Return the cells as text; spaces between two words of one style have it as well, which saves codes."""
    filled = list(of)
    for place, (letter, _) in enumerate(of):
        if letter == " ":
            before = filled[place - 1][1] if place else ""
            after = next((style for each, style in of[place:] if each != " "), "")
            filled[place] = (" ", before if before == after else "")
    pieces = ((style, "".join(letter for letter, _ in run)) for style, run in groupby(filled, key=lambda cell: cell[1]))
    return "".join(f"{style}{text}\x1b[0m" if style else text for style, text in pieces)


def _stripped(of: list[Cell]) -> list[Cell]:
    return of[: len(_text(of).rstrip())]


def _rows(lines: list[list[Cell]]) -> Iterator[tuple[str, str, str]]:
    texts = [_text(line) for line in lines]
    # Every text begins in one column: the second that is the start of a word in all lines.
    starts = [
        column
        for column in range(1, _WIDTH - 4)
        if all(text[column] != " " and text[column - 1] == " " for text in texts)
    ]
    for line, text in zip(lines, texts, strict=True):
        note = _NOTE.search(text.rstrip())
        end = len(text) if note is None else note.start()
        yield (
            _coloured(line[: starts[0]]),
            _coloured(_stripped(line[starts[0] : end])),
            "" if note is None else _coloured(_stripped(line[end:])),
        )


def page() -> list[tuple[str | None, list[tuple[str, str, str]]]]:
    """Return what the help says, panel for panel, as it stands in `root_help_page`."""
    found: list[tuple[str | None, list[tuple[str, str, str]]]] = []
    box: list[list[Cell]] = []
    title = ""
    for line in map(cells, typers_help(_WIDTH, coloured=True).splitlines()[:-1]):
        text = _text(line)
        if text.startswith("╭"):
            title, box = text.strip("╭─╮ "), []
        elif text.startswith("╰"):
            found.append((title, list(_rows(box))))
        elif text.startswith("│"):
            box.append(line[2:-2])
        else:
            if not found or found[-1][0] is not None:
                found.append((None, []))
            found[-1][1].append(("", _coloured(_stripped(line[1:])), ""))
    return found


def _quoted(text: str) -> str:
    return repr(text) if '"' in text or "'" in text else f'"{repr(text)[1:-1]}"'


def written() -> str:
    """Return the module's text, laid out as ruff does."""
    versions = ", ".join(f'"{name}": "{version(name)}"' for name in ("typer", "rich"))
    lines = [_HEAD.replace("{versions}", f"{{{versions}}}")]
    for title, rows in page():
        lines.append(f"    (\n        {title and _quoted(title)},\n        (\n")
        for row in rows:
            line = f"            ({', '.join(map(_quoted, row))}),\n"
            split = "".join(f"                {_quoted(each)},\n" for each in row)
            lines.append(line if len(line) <= 121 else f"            (\n{split}            ),\n")
        lines.append("        ),\n    ),\n")
    return "".join([*lines, ")\n"])


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
