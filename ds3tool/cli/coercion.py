"""Words of a command line made into values without pydantic, where their type is plain.

Typer since 0.29 hands every value, defaults too, to pydantic, whose import and adapters cost more at the start of a
command than everything else together. Text, whole numbers, names of an enumeration, flags and paths need none of
it. Whatever is not plainly right is left to Typer, whose words are then those of the error.
"""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

import typer.core

_LEFT_TO_TYPER = object()
# What a path may be declared to be checked for; such a one is Typer's.
_PATH_CHECKS = ("exists", "writable", "resolve_path", "allow_dash", "path_type")


class PlainCommand(typer.core.TyperCommand):
    """A command whose parameters take plain values without pydantic."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - typer keeps these classes private
        """Return the parameters, that of the help among them."""
        return _plain(super().get_params(ctx))


class PlainGroup(typer.core.TyperGroup):
    """A group of commands whose parameters take plain values without pydantic."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - typer keeps these classes private
        """Return the parameters, that of the help among them."""
        return _plain(super().get_params(ctx))


def _plain(parameters: list[Any]) -> list[Any]:
    for each in parameters:
        # A release of Typer that has another way of its own is left as it is.
        descriptor = getattr(each, "type_descriptor", None)
        if descriptor is not None and getattr(each, "_runtime_param", _LEFT_TO_TYPER) is None:
            each._runtime_param = _PlainValues(descriptor.annotation, descriptor.parameter_info)
    return parameters


class _PlainValues:
    """How one parameter takes its values: in place of Typer's `RuntimeParam`, which has this one method."""

    def __init__(self, annotation: Any, info: Any) -> None:  # noqa: ANN401 - any type; a private class of typer
        self._listed = get_origin(annotation) is list
        self._type = get_args(annotation)[0] if self._listed else annotation
        self._info = info

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401 - as typer declares it
        """Return the value that Typer would make of `value`; raise what Typer would raise."""
        made = self._values(value) if self._listed else self._value(value)
        if made is not _LEFT_TO_TYPER:
            return made
        param._runtime_param = None  # typer builds its own then
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)

    def _values(self, values: Any) -> Any:  # noqa: ANN401
        if values is None:
            return ()
        if not isinstance(values, list | tuple):
            return _LEFT_TO_TYPER
        made = [self._value(value) for value in values]
        return _LEFT_TO_TYPER if any(value is _LEFT_TO_TYPER for value in made) else made

    def _value(self, value: Any) -> Any:  # noqa: ANN401
        info, kind = self._info, self._type
        if value is None:
            return _LEFT_TO_TYPER if self._listed else None
        if info.parser is not None:
            return _LEFT_TO_TYPER
        if kind is str or kind is bool:
            return value if type(value) is kind else _LEFT_TO_TYPER
        if kind is int:
            return self._number(value)
        if kind is Path and not any(getattr(info, check, True) for check in _PATH_CHECKS):
            return self._path(value)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return next((each for each in kind if value is each or value == each.value), _LEFT_TO_TYPER)
        return _LEFT_TO_TYPER

    def _path(self, value: Any) -> Any:  # noqa: ANN401
        if not isinstance(value, str | Path) or "\0" in str(value):
            return _LEFT_TO_TYPER
        hidden = self._info.readable and os.path.exists(value) and not os.access(value, os.R_OK)
        return _LEFT_TO_TYPER if hidden else Path(value)

    def _number(self, value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 19:
            value = int(value)
        low, high = self._info.min, self._info.max
        plain = type(value) is int and (low is None or value >= low) and (high is None or value <= high)
        return value if plain else _LEFT_TO_TYPER
