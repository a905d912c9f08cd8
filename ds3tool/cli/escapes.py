"""Text that is safe to print: names come from strangers, and a terminal obeys what it is sent."""

from __future__ import annotations

import json
import re

# Controls (C0, DEL, C1), line and paragraph separators, byte order marks, the marks that turn the writing
# direction, and halves of surrogate pairs. Everything else, accents and emoji included, is shown as it is.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\e"}
# A spreadsheet takes a cell that starts with one of these for a formula. Source: OWASP, CSV injection.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    """Return `text` with every character that could steer a terminal written as a visible escape."""
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{ord(character):02x}" if ord(character) < 0x100 else f"\\u{ord(character):04x}"


def json_text(value: object, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """Return `value` as JSON that reads back as it was, and yet holds nothing that steers a terminal.

    Lone surrogates are written as escapes. With `indent` the document is laid out for people.
    """
    return _UNSAFE.sub(_json_escape, json.dumps(value, ensure_ascii=ascii_only, indent=indent))


def _json_escape(match: re.Match[str]) -> str:
    # json.dumps has escaped the controls inside strings; a line feed that is left belongs to the layout.
    return match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}"


def csv_cell(text: str) -> str:
    """Return `text` for a CSV cell: printable, and led by an apostrophe where a spreadsheet would compute it."""
    return ("'" if text.startswith(_FORMULA_STARTS) else "") + printable(text)
