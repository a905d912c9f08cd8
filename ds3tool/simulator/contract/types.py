"""The table of types: `types.txt`, read once."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

from ds3tool.lazy_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a type.

    `tag` is the name on the wire of it, or of each of `several`; `wrapper` the element around all of them, or around
    each. `default` is the text of the model's default, `now` for the current date. `sort`: its place in the order of
    lists, and whether the greatest comes first. `refers` names the type that its id is of; `orphans` says what
    becomes of this record when that one goes: `go`, `null`, or `""` when it cannot go.
    """

    name: str
    type: str
    several: bool = False
    nullable: bool = False
    omitted: bool = False
    hidden: bool = False
    attribute: bool = False
    tag: str = ""
    wrapper: str | None = None
    wrapped_each: bool = False
    default: str | None = None
    sort: tuple[int, bool] | None = None
    refers: str | None = None
    orphans: str = ""
    secret: bool = False
    like: str | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A type with properties. `tag` is the name of its element as a root, `Data` for most."""

    name: str
    tag: str
    properties: tuple[Property, ...]

    @property
    def order(self) -> tuple[Property, ...]:
        """The properties that a list is sorted by, the first of them first."""
        return tuple(sorted((each for each in self.properties if each.sort), key=lambda each: each.sort or (0, False)))

    def property(self, name: str) -> Property | None:
        """Return the property called `name`, or None."""
        return next((each for each in self.properties if each.name == name), None)


@functools.cache
def _tables() -> tuple[Mapping[str, Kind], Mapping[str, tuple[str, ...]]]:
    kinds: dict[str, Kind] = {}
    enumerations: dict[str, tuple[str, ...]] = {}
    text = resources.files(__package__).joinpath("types.txt").read_text(encoding="utf-8")
    head, properties = "", list[Property]()

    def close() -> None:
        if head:
            name, _, tag = head.partition(" as ")
            kinds[name] = Kind(name, tag or "Data", tuple(properties))
        properties.clear()

    for line in text.splitlines():
        if line.startswith("  "):
            properties.append(_property(line))
        elif line and not line.startswith("#"):
            close()
            name, equals, values = line.partition(" = ")
            head = "" if equals else line
            if equals:
                enumerations[name] = tuple(values.split())
    close()
    return MappingProxyType(kinds), MappingProxyType(enumerations)


def kind(name: str) -> Kind:
    """Return the type called `name`; KeyError for an enumeration, a scalar or an unknown one."""
    return _tables()[0][name]


def kinds() -> tuple[Kind, ...]:
    """Return all types with properties."""
    return tuple(_tables()[0].values())


def words(name: str) -> tuple[str, ...] | None:
    """Return the words of the enumeration called `name`; None when it is none."""
    return _tables()[1].get(name)


def _property(line: str) -> Property:
    head, *options = line.split()
    name, _, typed = head.partition(":")
    kind_name = typed.rstrip("*?-!@")
    flags = typed[len(kind_name) :]
    values = dict(option.partition("=")[::2] for option in options)
    around, _, inner = values.get("in", "").partition("/")
    tag, _, each = inner.partition("/")
    place = values.get("sort")
    return Property(
        name=name,
        type=kind_name,
        several="*" in flags,
        nullable="?" in flags,
        omitted="-" in flags,
        hidden="!" in flags,
        attribute="@" in flags,
        tag=tag or values.get("as", name),
        wrapper=around or None,
        wrapped_each=each == "each",
        default=values.get("default"),
        sort=None if place is None else (int(place.rstrip("-")), place.endswith("-")),
        refers=values.get("to"),
        orphans=values.get("orphans", ""),
        secret="secret" in values,
        like=values.get("like"),
    )
