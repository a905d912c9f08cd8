"""The table of operations: `operations.txt`, read once."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from importlib import resources
from types import MappingProxyType

from ds3tool.lazy_dataclass import dataclass

_PAGING = ("page_length:int", "page_offset:int", "page_start_marker:UUID", "last_page:void")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a query: its name on the wire, its type as the contract calls it, and whether it must be there."""

    name: str
    type: str
    required: bool

    @property
    def void(self) -> bool:
        """Whether it counts by being there, whatever its value."""
        return self.type == "void"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `style` is `s3` (then `resource` is `service`, `bucket` or `object`) or `rest`.

    `one`: an id follows the resource in the path. `operation`: the value of that parameter, `""` for none.
    `answers`: status -> name of the type in the body, with `*` for a list, or None.
    """

    style: str
    name: str
    verb: str
    resource: str
    one: bool
    operation: str
    paged: bool
    parameters: tuple[Parameter, ...]
    answers: Mapping[int, str | None]

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the parameters that must be there."""
        return tuple(each.name for each in self.parameters if each.required)

    @property
    def own_parameters(self) -> tuple[Parameter, ...]:
        """The parameters but those of paging, which every list has alike."""
        return self.parameters[: -len(_PAGING)] if self.paged else self.parameters

    @property
    def success(self) -> tuple[int, str | None]:
        """The status of an answer that is no failure, and the type in its body."""
        return next(iter(self.answers.items()))

    @property
    def action(self) -> str:
        """What is done to the resource: CREATE, LIST, SHOW, MODIFY, DELETE, or `""` when it is an operation of its own.

        MODIFY and DELETE without `one` are of all at once.
        """
        if self.operation or self.style == "s3":
            return ""
        return {"POST": "CREATE", "PUT": "MODIFY", "DELETE": "DELETE"}.get(self.verb, "SHOW" if self.one else "LIST")


@functools.cache
def operations() -> Mapping[tuple[str, str], Operation]:
    """Return all operations by style and name."""
    return MappingProxyType({(each.style, each.name): each for each in _read()})


def operation(style: str, name: str) -> Operation:
    """Return one operation; KeyError when the contract has none of that name."""
    return operations()[style, name]


def _read() -> Iterator[Operation]:
    text = resources.files(__package__).joinpath("operations.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            yield _operation(line)


def _operation(line: str) -> Operation:
    head, where, parameters, answers = (part.strip() for part in line.split("|"))
    style, name = head.split()
    verb, resource, *rest = where.split()
    paged = "paged" in rest
    return Operation(
        style=style,
        name=name,
        verb=verb,
        resource=resource.rstrip("/"),
        one=resource.endswith("/"),
        operation=next((word for word in rest if word != "paged"), ""),
        paged=paged,
        parameters=tuple(_parameter(each) for each in parameters.split())
        + (tuple(_parameter(each.replace(":", "?:")) for each in _PAGING) if paged else ()),
        answers=MappingProxyType(dict(_answer(each) for each in answers.split(","))),
    )


def _parameter(text: str) -> Parameter:
    name, _, kind = text.partition(":")
    return Parameter(name.removesuffix("?"), kind, required=not name.endswith("?"))


def _answer(text: str) -> tuple[int, str | None]:
    status, _, kind = text.strip().partition(" ")
    return int(status), kind or None
