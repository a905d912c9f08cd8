"""Writes a record of any of the contract's types: every element and attribute that the type has, in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ds3tool.simulator.contract import Kind, Property, kind
from ds3tool.simulator.wire.messages import Pairs, Reply, xml_reply
from ds3tool.simulator.wire.xmlout import Value, Xml, attributes, date, document, element

_ROOT = "Data"


def item_tag(row: Kind) -> str:
    """Return the name of the element of a type in a list."""
    return row.name if row.tag == _ROOT else row.tag


def model_default(each: Property) -> str | int | float | None:
    """Return what the model gives to a property that nobody set; None where it gives nothing, or the current date."""
    if each.default is None:
        if each.nullable or each.omitted or each.several:
            return None
        return {"boolean": False, "int": 0, "long": 0, "double": 0.0}.get(each.type)
    if each.type.lower() == "boolean":
        return each.default == "true"
    if each.type in ("int", "Integer", "long", "Long"):
        return int(each.default)
    if each.type.lower() == "double":
        return float(each.default)
    return None if each.type == "Date" else each.default


def marshal(row: Kind, values: Mapping[str, Any], tag: str | None = None) -> Xml:
    """Return a record as one element, called `tag` or else as a root.

    `values` has JSON values by property name: a date is seconds since 1970, a property of another type a mapping, one
    of several a list; `Xml` is taken as the whole element. What it lacks has the model's default; names that the type
    does not know are left out.
    """
    attached: dict[str, Value] = {}
    parts: list[tuple[str, Xml]] = []
    for each in row.properties:
        if each.hidden or (each.secret and each.omitted):
            continue
        value = values[each.name] if each.name in values else model_default(each)
        if value is None and each.omitted:
            continue
        if each.attribute:
            attached[each.tag] = _scalar(each, value)
        else:
            parts.append((each.wrapper or each.tag, _part(each, value)))
    inner = "".join(part for _, part in sorted(parts, key=lambda part: part[0]))
    name = tag or row.tag
    opening = f"{name}{attributes(attached)}"
    return Xml(f"<{opening}>{inner}</{name}>" if inner else f"<{opening}/>")


def _part(each: Property, value: object) -> Xml:
    if isinstance(value, Xml):
        return value
    if not each.several:
        return _single(each, each.tag, value)
    items = [_single(each, each.tag, item) for item in value] if isinstance(value, Iterable) else []
    if each.wrapper is None:
        return Xml("".join(items))
    if each.wrapped_each:
        return Xml("".join(element(each.wrapper, [item]) for item in items))
    return element(each.wrapper, items)


def _single(each: Property, tag: str, value: object) -> Xml:
    if isinstance(value, Mapping):
        return marshal(kind(each.type), value, tag)
    return element(tag, _scalar(each, value))


def _scalar(each: Property, value: object) -> Value:
    if each.type == "Date" and isinstance(value, int | float):
        return date(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)


def record_reply(row: Kind, values: Mapping[str, Any], status: int = 200) -> Reply:
    """Return the reply of one record."""
    return xml_reply(document(marshal(row, values)), status)


def list_reply(row: Kind, items: Iterable[Mapping[str, Any]], headers: Pairs = ()) -> Reply:
    """Return the reply of a list of records, below `Data`."""
    return xml_reply(document(element(_ROOT, [marshal(row, each, item_tag(row)) for each in items])), headers=headers)
