"""`dataclass` as the standard library's, whose methods are made when they are first used; a leaf.

The standard decorator writes the source of up to six methods of a class, and compiles each while the module is
imported. A short command imports a hundred classes, makes objects of half of them, and compares or shows the fewest:
compiling was a third of what it took in all. Here a class is imported with a stand-in for each method, and the
first who looks for a method has it made; the first few objects of a class are filled without one.

What a class does is as ever: fields, `replace`, `asdict`, slots, patterns, pickles and the words of errors are the
standard's, which still makes the fields and the slots. Four things differ. Only the parameters that this package
uses are taken, and no `InitVar` or `KW_ONLY`. `__dataclass_params__` says what was asked of the standard decorator.
A frozen class of this kind and one of the standard's cannot inherit from each other; that is refused when the class
is made. And a frozen object's fields are set through their slots, which takes half the time. Objects are compared as
tuples of their fields with every release of Python, as the standard's are up to 3.12.

For type checkers it is the standard decorator.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, Field, FrozenInstanceError, fields
from functools import partial
from reprlib import recursive_repr
from sys import modules
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

_ORDER = {"__lt__": "<", "__le__": "<=", "__gt__": ">", "__ge__": ">="}


class _FactoryDefault:
    """What a signature shows as the default of a field that a factory makes."""

    def __repr__(self) -> str:
        return "<factory>"


_FACTORY = _FactoryDefault()


class _OnFirstUse:
    """Stands in a class for a method that is not made yet; whoever asks for it gets it, and it takes this place."""

    def __init__(self, owner: type, name: str, make: Callable[[type], Any]) -> None:
        self._owner, self._name, self._make = owner, name, make

    def __get__(self, instance: object | None, asked: type | None = None) -> Any:  # noqa: ANN401 - as functions have it
        owner, name = self._owner, self._name
        method = self._make(owner)
        method.__name__, method.__qualname__ = name, f"{owner.__qualname__}.{name}"
        # Threads that come first at once make the same each, and it does not matter whose stays.
        if vars(owner)[name] is self:
            setattr(owner, name, method)
        return method.__get__(instance, asked)


class _Init(_OnFirstUse):
    """`__init__`: the first few objects of a class are filled field by field, for most classes never have more."""

    _FEW = 8

    def __init__(self, owner: type, *, frozen: bool) -> None:
        super().__init__(owner, "__init__", partial(_init, frozen=frozen))
        self._assign, self._filled = object.__setattr__ if frozen else setattr, 0

    def __get__(self, instance: object | None, asked: type | None = None) -> Any:  # noqa: ANN401 - as functions have it
        if self._filled < self._FEW and isinstance(instance, self._owner):
            return partial(self._fill, instance)
        return super().__get__(instance, asked)  # also for `inspect`, which may give the class for an object

    def _fill(self, this: Any, /, *given: Any, **named: Any) -> None:  # noqa: ANN401
        every = fields(self._owner)
        taken = [each.name for each in every if each.init]
        values = dict(zip(taken, given, strict=False)) | named
        needed = {each.name for each in every if each.init and each.default is each.default_factory is MISSING}
        if len(values) != len(given) + len(named) or not needed <= values.keys() <= set(taken):
            # One too many, or too few: the compiled method knows the words for it.
            super().__get__(this)(*given, **named)
            return
        self._filled += 1
        for each in every:
            if each.name in values:
                self._assign(this, each.name, values[each.name])
            elif each.default_factory is not MISSING:
                self._assign(this, each.name, each.default_factory())
            elif each.init or (each.default is not MISSING and _slot_of(self._owner, each) is not None):
                self._assign(this, each.name, each.default)
        if hasattr(self._owner, "__post_init__"):
            this.__post_init__()


def _slot_of(owner: type, field: Field[Any]) -> MemberDescriptorType | None:
    found = getattr(owner, field.name, None)
    return found if isinstance(found, MemberDescriptorType) else None


def _compiled(owner: type, name: str, parameters: Sequence[str], body: Sequence[str], given: dict[str, Any]) -> Any:  # noqa: ANN401 - a function of whatever shape
    """Return a function that sees the names of its class's module, and those of `given`."""
    lines = "".join(f"\n  {line}" for line in body)
    text = f"def make({','.join(given)}):\n def {name}({','.join(parameters)}):{lines}\n return {name}"
    module, made = modules.get(owner.__module__), dict[str, Any]()
    exec(text, {} if module is None else vars(module), made)  # noqa: S102 - as the standard decorator does
    return made["make"](**given)


def _init(owner: type, *, frozen: bool) -> Callable[..., None]:
    every = fields(owner)
    this = "__dataclass_self__" if any(each.name == "self" for each in every) else "self"
    given: dict[str, Any] = {"__factory__": _FACTORY, "__set__": object.__setattr__}
    parameters, body = [this], []
    for each in every:
        name, slot = each.name, _slot_of(owner, each)
        default = f"__default_{name}__"
        made = each.default_factory is not MISSING
        given[default] = each.default_factory if made else each.default
        if each.init:
            shown = "=__factory__" if made else "" if each.default is MISSING else f"={default}"
            parameters.append(name + shown)
            value = f"{default}() if {name} is __factory__ else {name}" if made else name
        elif made or (slot is not None and each.default is not MISSING):
            value = f"{default}()" if made else default
        else:
            continue
        if not frozen:
            body.append(f"{this}.{name}={value}")
        elif slot is not None:
            given[f"__set_{name}__"] = slot.__set__
            body.append(f"__set_{name}__({this},{value})")
        else:
            body.append(f"__set__({this},{name!r},{value})")
    if hasattr(owner, "__post_init__"):
        body.append(f"{this}.__post_init__()")
    init = _compiled(owner, "__init__", parameters, body or ["pass"], given)
    init.__annotations__ = {each.name: each.type for each in every if each.init} | {"return": None}
    return init  # type: ignore[no-any-return]  # compiled


def _tuple_of(name: str, compared: Iterable[Field[Any]]) -> str:
    return f"({''.join(f'{name}.{each.name},' for each in compared)})"


def _comparison(owner: type, *, name: str, operator: str) -> Callable[[Any, Any], Any]:
    compared = [each for each in fields(owner) if each.compare]
    test = f"{_tuple_of('self', compared)}{operator}{_tuple_of('other', compared)}"
    body = ["if other.__class__ is self.__class__:", f" return {test}", "return NotImplemented"]
    return _compiled(owner, name, ["self", "other"], body, {})  # type: ignore[no-any-return]  # compiled


def _hash(owner: type) -> Callable[[Any], int]:
    hashed = [each for each in fields(owner) if (each.compare if each.hash is None else each.hash)]
    return _compiled(owner, "__hash__", ["self"], [f"return hash({_tuple_of('self', hashed)})"], {})  # type: ignore[no-any-return]


def _repr(owner: type) -> Callable[[Any], str]:
    names = [each.name for each in fields(owner) if each.repr]

    def shown(self: object) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return recursive_repr()(shown)


def _refusal_to_set(owner: type) -> Callable[[Any, str, Any], None]:
    names = frozenset(each.name for each in fields(owner))

    def refuse(self: Any, name: str, value: Any) -> None:  # noqa: ANN401
        if type(self) is owner or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(owner, self).__setattr__(name, value)  # type: ignore[arg-type]  # mypy knows no `type` here

    return refuse


def _refusal_to_delete(owner: type) -> Callable[[Any, str], None]:
    names = frozenset(each.name for each in fields(owner))

    def refuse(self: Any, name: str) -> None:  # noqa: ANN401
        if type(self) is owner or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(owner, self).__delattr__(name)  # type: ignore[arg-type]  # mypy knows no `type` here

    return refuse


def _get_state(self: Any) -> list[Any]:  # noqa: ANN401
    return [getattr(self, each.name) for each in fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:  # noqa: ANN401
    for each, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, each.name, value)


def _dataclass(
    cls: type | None = None,
    /,
    *,
    repr: bool = True,  # noqa: A002 - the standard decorator's name
    eq: bool = True,
    order: bool = False,
    frozen: bool = False,
    slots: bool = False,
) -> Any:  # noqa: ANN401 - the class, or the decorator; type checkers see the standard one
    """Return the class with the methods of a dataclass, as the standard decorator of that name does."""
    if cls is None:
        return partial(_dataclass, repr=repr, eq=eq, order=order, frozen=frozen, slots=slots)
    made: type = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots)(cls)
    own = vars(made)
    # A class with an `__eq__` of its own and no hash has None in its place, by the language.
    own_hash = "__hash__" in own and not (own["__hash__"] is None and "__eq__" in own)
    if "__init__" not in own:
        made.__init__ = _Init(made, frozen=frozen)  # type: ignore[misc]  # a stand-in
    wanted: dict[str, Callable[[type], Any]] = {}
    if repr:
        wanted["__repr__"] = _repr
    if eq:
        wanted["__eq__"] = partial(_comparison, name="__eq__", operator="==")
    never_own: dict[str, Callable[[type], Any]] = {}
    if order:
        never_own |= {name: partial(_comparison, name=name, operator=operator) for name, operator in _ORDER.items()}
    if frozen:
        never_own |= {"__setattr__": _refusal_to_set, "__delattr__": _refusal_to_delete}
    if taken := [name for name in never_own if name in own]:
        raise TypeError(f"Cannot overwrite attribute {taken[0]} in class {cls.__name__}")
    for name, make in (wanted | never_own).items():
        if name not in own:
            setattr(made, name, _OnFirstUse(made, name, make))
    if eq and not own_hash:
        made.__hash__ = _OnFirstUse(made, "__hash__", _hash) if frozen else None  # type: ignore[assignment]
    if frozen and slots:
        for name, function in (("__getstate__", _get_state), ("__setstate__", _set_state)):
            if name not in own:
                setattr(made, name, function)
    return made


__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _dataclass
