"""Writes documents: escaped text, elements in alphabetical order, nulls as empty elements."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

_TEXT = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_ATTRIBUTE = {**_TEXT, '"': "&quot;", "\n": "&#10;", "\t": "&#9;"}
_SPECIAL_TEXT = re.compile("[&<>\r]")
_SPECIAL_ATTRIBUTE = re.compile('[&<>\r\n\t"]')


class Xml(str):
    """Text that is a document's part already, and is not escaped again."""

    __slots__ = ()


Value = str | int | float | bool | Xml | None


def date(seconds: float) -> str:
    """Return seconds since 1970 as the wire has them: UTC, three decimals, `Z`."""
    # The half millisecond keeps a stored number of milliseconds from being cut to the one below.
    moment = datetime.fromtimestamp(int(seconds * 1000 + 0.5) / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def escape(text: str) -> str:
    """Return `text` as an element's content."""
    return _SPECIAL_TEXT.sub(lambda match: _TEXT[match[0]], text) if _SPECIAL_TEXT.search(text) else text


def attribute(text: str) -> str:
    """Return `text` as an attribute's value, to stand between double quotes; line feeds survive the reader."""
    if _SPECIAL_ATTRIBUTE.search(text):
        return _SPECIAL_ATTRIBUTE.sub(lambda match: _ATTRIBUTE[match[0]], text)
    return text


def plain(value: Value) -> str:
    """Return a value as text, not escaped: booleans in lower case, None as nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def element(name: str, content: Value | Iterable[Xml]) -> Xml:
    """Return one element: a scalar's text, or the parts given one after the other."""
    if content is None:
        return Xml(f"<{name}/>")
    if isinstance(content, Xml):
        inner: str = content
    elif isinstance(content, (str, int, float)):
        inner = escape(plain(content))
    else:
        inner = "".join(content)
    return Xml(f"<{name}>{inner}</{name}>" if inner else f"<{name}/>")


def fields(values: Mapping[str, Value]) -> Xml:
    """Return one element for each of `values`, in alphabetical order; an `Xml` value is the element itself."""
    return Xml(
        "".join(value if isinstance(value, Xml) else element(name, value) for name, value in sorted(values.items()))
    )


def bean(name: str, values: Mapping[str, Value]) -> Xml:
    """Return a bean: element `name` around its `fields`."""
    return element(name, fields(values))


def attributes(values: Mapping[str, Value]) -> str:
    """Return ` Name="value"` for each of `values`, in alphabetical order; None is left out."""
    return "".join(
        f' {name}="{attribute(plain(value))}"' for name, value in sorted(values.items()) if value is not None
    )


def document(part: Xml) -> bytes:
    """Return a whole document in UTF-8."""
    return part.encode()
