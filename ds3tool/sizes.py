"""Sizes, rates and durations as people write and read them; a leaf that knows no other room."""

from __future__ import annotations

import re

from ds3tool.errors import UsageError

_SIZE = r"(?ai)(\d+(?:\.\d+)?)\s*([KMGTP]?)(i?)B?"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# What the appliance counts bytes in: signed 64 bits. More digits than that has are not even read as a number.
_MOST_BYTES = 2**63 - 1
_MOST_DIGITS = 40
# Three thousand years: longer than anybody waits, and than any calendar of ours goes back.
_MOST_SECONDS = 1e11


def parse_size(text: str) -> int:
    """Return the bytes that `text` names: `64MiB` (powers of 1024), `64M` or `64MB` (of 1000), `4096`.

    Raises UsageError for anything else.
    """
    match = re.fullmatch(_SIZE, text.strip())
    if match is None or (match[3] and not match[2]):
        raise UsageError(f"{quoted(text)} is not a size", hint="write it like 500M, 64MiB or 4096")
    unit: int = (1024 if match[3] else 1000) ** _POWERS[match[2].upper()]
    size = _MOST_BYTES + 1
    if len(match[1]) <= _MOST_DIGITS:
        size = round(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit
    if size > _MOST_BYTES:
        raise UsageError(f"{quoted(text)} is more than any size", hint="the most is 8192 PiB, less one byte")
    return size


def parse_rate(text: str) -> int:
    """Return the bytes a second that `text` names, such as `100M` or `100MiB/s`."""
    rate = parse_size(text.strip().removesuffix("/s"))
    if rate <= 0:
        raise UsageError(f"{text!r} is not a rate above zero")
    return rate


def parse_duration(text: str) -> float:
    """Return the seconds that `text` names: `90`, `90s`, `15m`, `1h30m`, `2d`.

    Raises UsageError for anything else.
    """
    position, total, stripped = 0, 0.0, text.strip()
    while position < len(stripped):
        match = _DURATION.match(stripped, position)
        if match is None or (match[2] is None and (position or match.end() < len(stripped))):
            break
        total += float(match[1]) * _SECONDS[(match[2] or "s").lower()]
        position = match.end()
    if not stripped or position < len(stripped):
        raise UsageError(f"{quoted(text)} is not a duration", hint="write it like 90s, 15m, 1h30m or 2d")
    if total > _MOST_SECONDS:
        raise UsageError(f"{quoted(text)} is longer than any duration", hint="the most is 1157407d, some 3,000 years")
    return total


def quoted(text: str) -> str:
    """Return what somebody typed as messages quote it; of a long one, its beginning."""
    return repr(text if len(text) <= _MOST_DIGITS else text[:_MOST_DIGITS] + "...")


def format_size(size: float) -> str:
    """Return bytes for people, in powers of 1024: `0 B`, `1.5 MiB`."""
    if size < 1024:
        return f"{int(size)} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        size /= 1024
        if size < 1023.95:  # what would round to 1024.0 is one of the next
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} PiB"


def format_duration(seconds: float) -> str:
    """Return seconds for people: `0.4 s`, `12 s`, `3 m 05 s`, `2 h 10 m`, `3 d 4 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
