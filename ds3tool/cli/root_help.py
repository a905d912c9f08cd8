"""The top-level help, laid out as Typer lays it out, without the import of Typer and of every command.

What it says is in `root_help_page`, which `python -m tests.cli.root_help_writer` writes: what Typer prints on one long
line each, with its colours. Only where lines break is decided here. A test holds the two helps equal.
"""

from __future__ import annotations

import os
import re
import sys

# Both would take a tenth of the time; mypy knows the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TextIO

# Below this Typer folds other columns than the last as well, and above it nobody reads.
_NARROWEST, _WIDEST = 80, 1000
# What makes Typer or rich print otherwise than a terminal's width and kind alone say.
TYPERS_OWN = (
    "FORCE_COLOR",
    "GITHUB_ACTIONS",
    "NO_COLOR",
    "PY_COLORS",
    "TERMINAL_WIDTH",
    "TTY_COMPATIBLE",
    "TYPER_USE_RICH",
    "_DS3TOOL_COMPLETE",
    "_TYPER_FORCE_DISABLE_TERMINAL",
)
_DUMB = ("dumb", "unknown")
_FAINT, _PLAIN = "\x1b[2m", "\x1b[0m"
_CODE = r"(\x1b\[[0-9;]*m)"
_WORD = r"\s*\S+\s*"


def root_help(stream: TextIO, environ: Mapping[str, str]) -> str | None:
    """Return the help as Typer would print it on `stream`, ending in a newline; None where only Typer knows."""
    if any(name in environ for name in TYPERS_OWN) or environ.get("TERM", "").lower() in _DUMB:
        return None
    width = _width(environ)
    if not (stream.encoding or "").lower().startswith("utf") or not _NARROWEST <= width <= _WIDEST:
        return None
    page = laid_out(width)
    return page if stream.isatty() else re.sub(_CODE, "", page)


def command_lines() -> dict[str, str]:
    """Return the one line of help of each command, by its name."""
    from ds3tool.cli.root_help_page import PAGE

    rows = (row for title, rows in PAGE if title is not None for row in rows)
    return {re.sub(_CODE, "", head).strip(): re.sub(_CODE, "", text) for head, text, _ in rows if "--" not in head}


def _width(environ: Mapping[str, str]) -> int:
    columns = environ.get("COLUMNS", "")
    if columns.isdigit():
        return int(columns) or 80
    for stream in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
        try:
            return os.get_terminal_size(stream.fileno()).columns or 80  # type: ignore[union-attr]  # None is caught
        except (AttributeError, ValueError, OSError):  # closed, or no terminal
            continue
    return 80


def laid_out(width: int) -> str:
    """Return the help, coloured, in lines of `width` columns; the last is empty."""
    from ds3tool.cli.root_help_page import PAGE

    lines: list[str] = []
    for title, rows in PAGE:
        if title is None:
            lines += (f" {_padded(line, width - 2)} " for _, text, _ in rows for line in _wrapped(text, width - 2))
        else:
            lines += _panel(title, rows, width)
    return "\n".join([*lines, "", ""])


def _panel(title: str, rows: tuple[tuple[str, str, str], ...], width: int) -> Iterator[str]:
    """Yield the lines of a box. Of each row the head stands left of the text, and the note after or below it."""
    yield f"{_FAINT}╭─ {title} {'─' * (width - 5 - len(title))}╮{_PLAIN}"
    side = f"{_FAINT}│{_PLAIN}"
    for head, text, note in rows:
        indent = len(re.sub(_CODE, "", head))
        room = width - 4 - indent
        one_line = f"{text} {note}" if note else text
        fits = len(re.sub(_CODE, "", one_line)) <= room
        texts = [one_line] if fits or not note else [text, note]
        for number, line in enumerate(line for each in texts for line in _wrapped(each, room)):
            yield f"{side} {' ' * indent if number else head}{_padded(line, room)} {side}"
    yield f"{_FAINT}╰{'─' * (width - 2)}╯{_PLAIN}"


def _padded(line: str, width: int) -> str:
    return line + " " * (width - len(re.sub(_CODE, "", line)))


def _wrapped(text: str, width: int) -> list[str]:
    """Break a coloured line at words; each piece begins and ends with colours of its own."""
    plain = re.sub(_CODE, "", text)
    if len(plain) <= width:
        return [text]
    cuts, used = [0], 0
    for word in re.finditer(_WORD, plain):
        if used and used + len(word[0].rstrip()) > width:
            cuts.append(word.start())
            used = 0
        used += len(word[0])
    return [_cut(text, start, end) for start, end in zip(cuts, [*cuts[1:], len(plain)], strict=True)]


def _cut(text: str, start: int, end: int) -> str:
    """Return the columns `start` to `end` of a coloured line, without the space it ends with."""
    pieces, at, style = [], 0, ""
    for piece in re.split(_CODE, text):
        if piece.startswith("\x1b"):
            style = "" if piece == _PLAIN else piece
            continue
        kept = piece[max(0, start - at) : max(0, end - at)]
        at += len(piece)
        if at >= end:
            kept = kept.rstrip()
        if kept:
            pieces.append(f"{style}{kept}{_PLAIN}" if style else kept)
    return "".join(pieces)
