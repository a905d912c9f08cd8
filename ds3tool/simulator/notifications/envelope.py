"""The document that goes to an end point: a payload's elements, as XML or JSON, under the names that were asked for.

The payloads are of the contract's types; what stands around them is not public. Here it is the plainest thing that
names the kind: the root that every answer has, and in it one element called as the payload's type.

    <Data><JobCreatedNotificationPayload><JobId>…</JobId><NotificationGenerationDate>…</…></…></Data>
    {"Data": {"JobCreatedNotificationPayload": {"JobId": "…", "NotificationGenerationDate": "…"}}}

In JSON, lists are arrays under the name of their wrapper (of their element where they have none), attributes are
members like elements, numbers and truths are no strings, and what is null is null. The naming convention is for every
name in the document, the root too. Format DEFAULT is XML.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ds3tool.simulator.contract import Kind, Property, kind
from ds3tool.simulator.notifications.naming import convention
from ds3tool.simulator.wire.xmlout import Xml, attribute, element, plain

_ROOT = "Data"
Values = Mapping[str, Any]
_Naming = Callable[[str], str]


def compose(payload: str, values: Values, *, form: str, naming: str) -> tuple[bytes, str]:
    """Return a document and its content type.

    `values` has the payload's properties by name: scalars, dates as the wire has them, further mappings for properties
    of a type of the contract, sequences for those that are several; what it lacks is null. `form` is an
    HttpResponseFormatType, `naming` a NamingConventionType.
    """
    named = convention(naming)
    if form == "JSON":
        content = {named(_ROOT): {named(payload): _members(kind(payload), values, named)}}
        return json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass"), "application/json"
    return element(named(_ROOT), [_bean(payload, kind(payload), values, named)]).encode(), "application/xml"


def _members(type_: Kind, values: Values, named: _Naming) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for each in type_.properties:
        value = values.get(each.name)
        if value is None and each.omitted and not each.several:
            continue
        name = each.wrapper or each.tag
        members[named(name)] = (
            [_member(each, one, named) for one in value or ()]
            if each.several
            else (None if value is None else _member(each, value, named))
        )
    return members


def _member(each: Property, value: Any, named: _Naming) -> Any:  # noqa: ANN401 - what JSON can hold
    return _members(kind(each.type), value, named) if isinstance(value, Mapping) else value


def _bean(tag: str, type_: Kind, values: Values, named: _Naming) -> Xml:
    inner: list[Xml] = []
    attributes = ""
    for each in type_.properties:
        value = values.get(each.name)
        if each.attribute:
            attributes += "" if value is None else f' {named(each.tag)}="{attribute(plain(value))}"'
        elif each.several:
            inner.append(_list(each, value or (), named))
        elif value is not None or not each.omitted:
            inner.append(_element(each, value, named))
    body = "".join(inner)
    name = named(tag)
    return Xml(f"<{name}{attributes}>{body}</{name}>" if body else f"<{name}{attributes}/>")


def _list(each: Property, values: Sequence[Any], named: _Naming) -> Xml:
    items = [_element(each, value, named) for value in values]
    return element(named(each.wrapper), items) if each.wrapper else Xml("".join(items))


def _element(each: Property, value: Any, named: _Naming) -> Xml:  # noqa: ANN401 - what the contract says
    if isinstance(value, Mapping):
        return _bean(each.tag, kind(each.type), value, named)
    return element(named(each.tag), value)
