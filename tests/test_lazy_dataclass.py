"""Classes whose methods are made on first use: each does what the standard library's decorator would have it do."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import operator
import pickle
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, FrozenInstanceError, asdict, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

import ds3tool
from ds3tool import lazy_dataclass
from ds3tool.lazy_dataclass import dataclass

T = TypeVar("T")
_ORDER = ("__lt__", "__le__", "__gt__", "__ge__")
# What the decorators put into a class, beside what they are asked for.
_ALWAYS_MADE = {
    "__dict__",
    "__weakref__",
    "__slots__",
    "__match_args__",
    "__dataclass_fields__",
    "__dataclass_params__",
}
_ALWAYS_MADE |= {"__getstate__", "__setstate__", "__replace__", "__abstractmethods__"}


def is_made(cls: type, name: str) -> bool:
    """Whether a method of a class is the decorator's, and not its own or its parents'."""
    found = vars(cls).get(name)
    if found is None or isinstance(found, lazy_dataclass._OnFirstUse):
        return found is not None
    code = getattr(inspect.unwrap(found), "__code__", None)
    return code is not None and code.co_filename in {"<string>", lazy_dataclass.__file__}


def ours() -> Iterator[type]:
    """Yield every class of the package that is made by the decorator."""
    for module in pkgutil.walk_packages(ds3tool.__path__, "ds3tool."):
        if not module.name.endswith("__main__"):
            for each in vars(importlib.import_module(module.name)).values():
                if isinstance(each, type) and each.__module__ == module.name and "__dataclass_fields__" in vars(each):
                    yield each


def standard(cls: type, known: dict[type, type]) -> type:
    """Return a class of the same body, made by the standard decorator; its parents too."""
    if cls in known:
        return known[cls]
    made = {name for name in vars(cls) if is_made(cls, name)}
    flags = {
        "repr": "__repr__" in vars(cls),
        "eq": "__eq__" in vars(cls),
        "order": "__lt__" in made,
        "frozen": "__setattr__" in made,
        "slots": "__slots__" in vars(cls),
    }
    own = [each for each in fields(cls) if each.name in cls.__annotations__]
    left_out = made | _ALWAYS_MADE | {each.name for each in own}
    body = {name: value for name, value in vars(cls).items() if name not in left_out}
    if body.get("__hash__", MISSING) is None:
        del body["__hash__"]
    for each in own:
        kept = {name: getattr(each, name) for name in ("init", "repr", "hash", "compare", "kw_only")}
        body[each.name] = field(default=each.default, default_factory=each.default_factory, **kept)
    parents = tuple(standard(each, known) if "__dataclass_fields__" in vars(each) else each for each in cls.__bases__)
    twin = type(cls)(cls.__name__, parents, body)
    twin.__qualname__ = cls.__qualname__
    known[cls] = dataclasses.dataclass(**flags)(twin)
    return known[cls]


def filled(cls: type, values: dict[str, object]) -> Any:  # noqa: ANN401 - of a class made here
    """Return an object whose fields have these values, and of which nothing else was asked."""
    made: object = object.__new__(cls)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def outcome(act: Callable[[], object]) -> object:
    """Return what comes of it: a value, or the kind and the words of an error."""
    try:
        return act()
    except (TypeError, AttributeError) as error:
        return type(error), str(error)


def test_every_class_of_the_package_is_what_the_standard_decorator_makes_of_it() -> None:
    """Fields, slots, patterns, signatures, words, comparisons, hashes and refusals are the same, class by class."""
    known: dict[type, type] = {}
    count = 0
    for cls in ours():
        twin = standard(cls, known)
        assert is_made(cls, "__init__"), cls
        count += 1
        check_objects(cls, twin)
        assert [str(each) for each in fields(cls)] == [str(each) for each in fields(twin)], cls
        for name in ("__slots__", "__match_args__", "__doc__", "__annotations__"):
            assert vars(cls).get(name) == vars(twin).get(name), (cls, name)
        assert str(inspect.signature(cls)) == str(inspect.signature(twin)), cls
        assert vars(cls)["__init__"].__annotations__ == vars(twin)["__init__"].__annotations__, cls
        for name in ("__init__", "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__", *_ORDER):
            assert (name in vars(cls)) == (name in vars(twin)), (cls, name)
            assert (getattr(cls, name) is None) == (getattr(twin, name) is None), (cls, name)
        for name in ("__getstate__", "__setstate__"):
            assert (name in vars(cls)) == (name in vars(twin)), (cls, name)
        assert inspect.isfunction(vars(cls)["__init__"]), cls
        check_objects(cls, twin)
    assert count > 350


def check_objects(cls: type, twin: type) -> None:
    values: dict[str, object] = {each.name: f"value of {each.name}" for each in fields(cls)}
    mine, theirs = filled(cls, values), filled(twin, values)
    if is_made(cls, "__repr__"):
        assert repr(mine) == repr(theirs)
    if is_made(cls, "__hash__") or cls.__hash__ is None:
        assert outcome(lambda: hash(mine)) == outcome(lambda: hash(theirs)), cls
    if is_made(cls, "__eq__"):
        assert (mine == filled(cls, values)) is True
        assert mine.__eq__(object()) is NotImplemented
    for name in values:
        other = {**values, name: "zzz"}
        if is_made(cls, "__eq__"):
            assert (mine == filled(cls, other)) == (theirs == filled(twin, other)), (cls, name)
        if is_made(cls, "__lt__"):
            for compare in (operator.lt, operator.le, operator.gt, operator.ge):
                assert compare(mine, filled(cls, other)) == compare(theirs, filled(twin, other)), (cls, name)
        if "__setattr__" in vars(cls):
            for refuse in (lambda one, name=name: setattr(one, name, 1), lambda one, name=name: delattr(one, name)):
                refused = outcome(lambda refuse=refuse: refuse(mine))  # type: ignore[misc]  # mypy infers no lambda of a loop
                assert refused == outcome(lambda refuse=refuse: refuse(theirs)), cls  # type: ignore[misc]
                assert refused[0] is FrozenInstanceError, cls  # type: ignore[index]
    if not hasattr(cls, "__post_init__"):
        given = {each.name: f"given {each.name}" for each in fields(cls) if each.init}
        assert shown(cls(**given)) == shown(twin(**given)) == shown(cls(*given.values()))
        needed = {name: given[name] for name in given if is_needed(cls, name)}
        assert shown(cls(**needed)) == shown(twin(**needed))
        for name in needed:
            fewer = {each: needed[each] for each in needed if each != name}
            assert outcome(lambda fewer=fewer: cls(**fewer)) == outcome(lambda fewer=fewer: twin(**fewer))  # type: ignore[misc]
        assert outcome(lambda: cls(nonsense=1)) == outcome(lambda: twin(nonsense=1))


def is_needed(cls: type, name: str) -> bool:
    return inspect.signature(cls).parameters[name].default is inspect.Parameter.empty


def shown(one: Any) -> dict[str, object]:  # noqa: ANN401 - a dataclass
    """Return an object's fields: plain values as they are, others, which a factory made, by their kind."""
    plain = (str, int, tuple, list, dict, Enum, type(None))
    values = {each.name: getattr(one, each.name, MISSING) for each in fields(one)}
    return {name: value if isinstance(value, plain) else type(value) for name, value in values.items()}


def test_no_class_of_the_package_is_made_by_the_standard_decorator(project: Path) -> None:
    """Whoever forgets pays at every start, so it is told here."""
    used = re.compile(r"^from dataclasses import .*\bdataclass\b|dataclasses\.dataclass\b", re.MULTILINE)
    package = project / "ds3tool"
    found = {str(path.relative_to(package)) for path in package.rglob("*.py") if used.search(path.read_text())}
    assert found == {"lazy_dataclass.py"}


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """A frozen one with every kind of field."""

    x: int
    y: int = 2
    tags: list[str] = field(default_factory=list, compare=False)
    secret: str = field(default="s3cret", repr=False)
    total: int = field(init=False, hash=False)

    def __post_init__(self) -> None:
        """Add."""
        object.__setattr__(self, "total", self.x + self.y)


@dataclass(slots=True)
class Counter(Generic[T]):
    """One that changes."""

    what: T
    count: int = field(default=7, init=False)
    parts: list[int] = field(default_factory=lambda: [1], init=False)


@dataclass(frozen=True, slots=True)
class Pair:
    """A parent, with words of its own."""

    a: int
    b: int = 2

    def __repr__(self) -> str:
        return "a pair"


@dataclass(frozen=True, slots=True)
class Triple(Pair):
    """A child, which replaces a default and adds a field."""

    b: int = 5
    c: int = 6


def test_a_method_is_made_when_it_is_first_used_and_then_stays() -> None:
    """Nothing is compiled for a class that is only declared; what was made is a plain function of the class."""

    @dataclass(frozen=True, slots=True)
    class New:
        a: int

    lazy = ("__init__", "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__")
    assert not any(inspect.isfunction(vars(New)[name]) for name in lazy)
    assert New(1) == New(a=1)
    assert [name for name in lazy if inspect.isfunction(vars(New)[name])] == ["__eq__"]
    assert [New(number).a for number in range(20)] == list(range(20))
    assert [name for name in lazy if inspect.isfunction(vars(New)[name])] == ["__init__", "__eq__"]
    assert vars(New)["__eq__"] is New.__eq__
    for name in lazy:
        method = getattr(New, name)
        assert (method.__name__, method.__qualname__) == (name, f"{New.__qualname__}.{name}")
    compiled = ("__init__", "__eq__", "__hash__")
    assert tuple(getattr(New, name).__code__.co_name for name in compiled) == compiled  # as tracebacks name them


def test_importing_compiles_nothing() -> None:
    """A module of many classes is imported without one call of the compiler for their methods."""
    code = (
        "import builtins, sys; import dataclasses; compiled = [];"
        "real = builtins.exec; builtins.exec = lambda *given: compiled.append(given) or real(*given);"
        "import ds3tool.protocol.model; texts = [one[0] for one in compiled if isinstance(one[0], str)];"
        # From 3.13 on the standard decorator compiles an empty frame for each class.
        "sys.exit(any(text.count('def ') > 1 for text in texts))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_defaults_factories_and_what_comes_after_them() -> None:
    """A factory is called for each object that is not given the field; `__post_init__` comes last."""
    first, second = Point(1), [Point(1) for _ in range(20)][-1]
    assert first.tags == []
    assert first.tags is not second.tags
    assert (first.y, first.secret, first.total) == (2, "s3cret", 3)
    given = ["t"]
    assert Point(1, 2, given).tags is given
    counter, other = Counter("w"), [Counter("w") for _ in range(20)][-1]
    assert (counter.count, counter.parts) == (other.count, other.parts) == (7, [1])
    assert counter.parts is not other.parts
    counter.count = 8
    assert counter != other
    with pytest.raises(TypeError, match="unhashable"):
        hash(counter)


def test_what_only_a_child_does_after_its_fields_is_not_done_for_its_parent() -> None:
    """As in the standard library, it is the class's own `__post_init__` that `__init__` calls, from the first on."""

    @dataclass
    class Parent:
        one: int

    class Child(Parent):
        after: bool = False

        def __post_init__(self) -> None:
            self.after = True

    assert not any(Child(number).after for number in range(20))


def test_what_does_not_take_part_is_neither_compared_nor_hashed_nor_shown() -> None:
    """The marks of a field hold as ever."""
    assert Point(1, tags=["a"]) == Point(1, tags=["b"])
    assert hash(Point(1, tags=["a"])) == hash((1, 2, "s3cret"))
    assert Point(1) != (1, 2)  # type: ignore[comparison-overlap]  # that is what is tried
    assert repr(Point(1)) == "Point(x=1, y=2, tags=[], total=3)"
    assert sorted([Point(2), Point(1, 3), Point(1)]) == [Point(1), Point(1, 3), Point(2)]
    with pytest.raises(TypeError, match="not supported"):
        _ = Point(1) < 3  # type: ignore[operator]  # that is what is tried


def test_a_repr_that_contains_itself_ends() -> None:
    """As the standard one does."""
    counter: Counter[Any] = Counter(1)
    counter.what = counter
    assert repr(counter) == "Counter(what=..., count=7, parts=[1])"


def test_a_frozen_object_stays_as_it_is() -> None:
    """Fields, and names that are none, can be neither set nor deleted."""
    point = Point(1)
    for name in ("x", "total", "other"):
        with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{name}'"):
            setattr(point, name, 2)
        with pytest.raises(FrozenInstanceError, match=f"cannot delete field '{name}'"):
            delattr(point, name)
    assert point == Point(1)


@pytest.mark.parametrize("one", [Point(1, 2, ["t"]), Triple(1, c=2), Counter({"a": [1]})])
def test_copies_and_pickles_are_equal(one: object) -> None:
    """What is frozen and has slots can be pickled all the same."""
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(one, protocol)) == one
    assert copy.copy(one) == copy.deepcopy(one) == one


def test_the_functions_of_the_standard_library_take_them() -> None:
    """`replace`, `asdict`, patterns."""
    assert replace(Point(1), x=5).total == 7
    with pytest.raises((TypeError, ValueError), match="init=False"):
        replace(Point(1), total=5)
    assert asdict(Triple(1)) == {"a": 1, "b": 5, "c": 6}
    match Triple(1, 2, 3):
        case Triple(a, b, c):
            assert (a, b, c) == (1, 2, 3)


def test_a_child_has_its_parents_fields_and_methods() -> None:
    """A default is replaced; a parent's own words are not, but by those of a child's decorator."""
    assert (Triple(1), repr(Pair(1)), repr(Triple(1))) == (Triple(1, 5, 6), "a pair", "Triple(a=1, b=5, c=6)")
    assert Pair(1, 5) != Triple(1, 5)
    assert hash(Triple(1)) == hash((1, 5, 6))

    class Undecorated(Pair):
        pass

    loose = Undecorated(3)
    assert (loose.a, loose.b) == (3, 2)
    loose.more = 1  # type: ignore[attr-defined]  # it has a dict, as any undecorated child
    with pytest.raises(FrozenInstanceError):
        loose.a = 4  # type: ignore[misc]  # that is what is tried


def test_methods_of_the_class_itself_are_kept() -> None:
    """A class's own `__init__`, `__eq__` and `__hash__` win."""

    @dataclass(slots=True)
    class Own:
        a: int

        def __init__(self, a: str) -> None:
            self.a = int(a)

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own)

        def __hash__(self) -> int:
            return 12

    assert Own("3").a == 3
    assert Own("3") == Own("4")
    assert hash(Own("3")) == 12

    with pytest.raises(TypeError, match="Cannot overwrite attribute __setattr__ in class Guarded"):

        @dataclass(frozen=True)
        class Guarded:
            a: int

            def __setattr__(self, name: str, value: object) -> None: ...


def test_a_field_called_self_is_a_field() -> None:
    """The object itself then goes by another name."""

    @dataclass(frozen=True, slots=True)
    class Odd:
        self: int
        other: int = 2

    assert repr(Odd(self=1)).endswith("Odd(self=1, other=2)")
    assert Odd(1) == Odd(1, 2)


def test_an_object_without_slots_has_its_fields_in_its_dict() -> None:
    """`slots` is left out by few; those work as well."""

    @dataclass(frozen=True)
    class Plain:
        a: int
        b: list[int] = field(default_factory=list)
        c: int = field(default=3, init=False)

    assert [vars(Plain(number)) for number in range(20)] == [{"a": number, "b": []} for number in range(20)]
    with pytest.raises(FrozenInstanceError):
        Plain(1).a = 2  # type: ignore[misc]  # that is what is tried


@pytest.mark.parametrize("made", [0, 20])
@pytest.mark.parametrize(
    ("given", "named", "words"),
    [
        ((), {}, "missing 1 required positional argument: 'a'"),
        ((1, 2, 3), {}, "takes from 2 to 3 positional arguments but 4 were given"),
        ((1,), {"a": 1}, "got multiple values for argument 'a'"),
        ((1,), {"d": 1}, "got an unexpected keyword argument 'd'"),
        ((1,), {"c": 1}, "got an unexpected keyword argument 'c'"),
    ],
)
def test_what_it_is_not_made_of_is_refused(
    made: int, given: tuple[int, ...], named: dict[str, int], words: str
) -> None:
    """The first object is as strict as any that follows, and in the same words."""

    @dataclass(slots=True)
    class New:
        a: int
        b: int = 2
        c: int = field(default=3, init=False)

    for number in range(made):
        assert New(number).c == 3
    with pytest.raises(TypeError, match=rf"New.__init__\(\) {words}$"):
        New(*given, **named)


def test_a_method_of_setting_is_asked_from_the_first_object_on() -> None:
    """A class that changes and has a `__setattr__` of its own sees each field of each object."""
    seen: list[str] = []

    @dataclass
    class Watched:
        a: int
        b: int = 2

        def __setattr__(self, name: str, value: object) -> None:
            seen.append(name)
            object.__setattr__(self, name, value)

    for _ in range(20):
        Watched(1)
    assert seen == ["a", "b"] * 20
