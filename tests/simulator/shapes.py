"""Compares an answer with the type that the contract declares for it."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from ds3tool.simulator.contract import Kind, Property, kind, words
from tests.simulator.wire import Answer

_FORMS = {
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "date": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
    "boolean": re.compile(r"true|false"),
    "int": re.compile(r"-?\d+"),
    "integer": re.compile(r"-?\d+"),
    "long": re.compile(r"-?\d+"),
    "double": re.compile(r"-?\d+(\.\d+)?"),
    "string": re.compile(r".*", re.DOTALL),
    "object": re.compile(r".*", re.DOTALL),
}


def item_tag(declared: Kind) -> str:
    return declared.name if declared.tag == "Data" else declared.tag


def check_answer(answer: Answer, declared: str | None) -> None:
    """Fail unless an answer's body is what is declared for its status: a type, several (`*`), a text or nothing."""
    if declared is None:
        assert answer.body == b"" or answer.status == 200, answer
    elif declared == "String":
        assert answer.body.decode()
    elif declared.endswith("*"):
        root = answer.xml
        assert root.tag == "Data"
        for each in root:
            assert each.tag == item_tag(kind(declared[:-1]))
            check(each, kind(declared[:-1]))
    else:
        root = answer.xml
        assert root.tag == kind(declared).tag
        check(root, kind(declared))


def check(found: Element, declared: Kind) -> None:
    """Fail unless an element has every attribute and child that its type declares, in order, and no other."""
    shown = [each for each in declared.properties if not each.hidden]
    attributes = {each.tag: each for each in shown if each.attribute}
    children = {each.wrapper or each.tag: each for each in shown if not each.attribute}
    where = f"{declared.name} in <{found.tag}>"
    for name, text in found.attrib.items():
        assert name in attributes, f"{where} has the attribute {name}"
        _check_text(text, attributes[name], where)
    assert list(found.attrib) == sorted(found.attrib), where
    for name, each in attributes.items():
        assert name in found.attrib or each.omitted, f"{where} lacks the attribute {name}"
    tags = [each.tag for each in found]
    assert tags == sorted(tags), f"{where} is not in order: {tags}"
    assert set(tags) <= children.keys(), f"{where} has {set(tags) - children.keys()}"
    for name, each in children.items():
        _check_children([child for child in found if child.tag == name], each, f"{where}: {name}")


def _check_children(found: list[Element], declared: Property, where: str) -> None:
    if declared.secret and declared.omitted:
        assert not found, f"{where} is secret"
        return
    if declared.several and declared.wrapper is None:
        items = found
    elif declared.several and declared.wrapped_each:
        items = [child for each in found for child in each]
        assert len(items) == len(found), where
    else:
        assert len(found) == 1 or (declared.omitted and not found), f"{where} is there {len(found)} times"
        items = [child for each in found for child in each] if declared.several else found
    for item in items:
        assert not declared.several or item.tag == declared.tag, f"{where} holds {item.tag}"
        _check_value(item, declared, where)


def _check_value(found: Element, declared: Property, where: str) -> None:
    if declared.type.lower() not in _FORMS and words(declared.type) is None:
        if len(found) or found.attrib or not declared.nullable:
            check(found, kind(declared.type))
        return
    assert not len(found), f"{where} is no text"
    _check_text(found.text or "", declared, where)


def _check_text(text: str, declared: Property, where: str) -> None:
    if not text and (declared.nullable or declared.type in ("String", "Object")):
        return
    allowed = words(declared.type)
    if allowed is not None:
        assert text in allowed, f"{where} is {text!r}"
    else:
        assert _FORMS[declared.type.lower()].fullmatch(text), f"{where} is {text!r}, no {declared.type}"
