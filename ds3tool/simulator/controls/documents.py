"""A question that came through the door: its fields, each taken once and checked; what is left over is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ds3tool.errors import Ds3Error
from ds3tool.simulator.wire.refusals import Refusal, bad_request

T = TypeVar("T")


class Question:
    """The fields of a JSON document, or the parameters of a query. Every method raises a 400 for what it cannot be."""

    def __init__(self, fields: Mapping[str, Any], *, form: str) -> None:
        """Begin with all `fields`; `form` is how the document should look, told when it does not."""
        self._fields = dict(fields)
        self._form = form

    def _take(self, name: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        return self._fields.pop(name, None)

    def _wrong(self, name: str, what: str) -> Refusal:
        return bad_request(f"The field {name!r} is not {what}. The document is {self._form}")

    def flag(self, name: str) -> bool:
        """Return a truth; False where it is absent."""
        value = self._take(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def text(self, name: str) -> str | None:
        """Return a text; None where it is absent."""
        value = self._take(name)
        if value is not None and not isinstance(value, str):
            raise self._wrong(name, "a text")
        return value

    def needed(self, name: str) -> str:
        """Return a text that must be there, and not empty."""
        value = self.text(name)
        if not value:
            raise bad_request(f"The field {name!r} is missing. The document is {self._form}")
        return value

    def texts(self, name: str) -> list[str]:
        """Return a list of texts; an empty one where it is absent."""
        value = self._take(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(name, "a list of texts")
        return value

    def number(self, name: str, *, least: float = 0.0, most: float = 1e12) -> float | None:
        """Return a number, which a query's parameter writes as text; None where it is absent."""
        value = self._take(name)
        if value is None:
            return None
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise self._wrong(name, "a number") from None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise self._wrong(name, f"a number from {least:g} to {most:g}")
        return float(value)

    def whole(self, name: str, *, least: int = 0, most: int = 10**15) -> int | None:
        """Return a whole number; None where it is absent."""
        value = self.number(name, least=least, most=most)
        return None if value is None else int(value)

    def end(self) -> None:
        """Refuse what nobody has asked for."""
        if self._fields:
            strange = ", ".join(sorted(map(repr, self._fields)))
            raise bad_request(f"There is no field {strange}. The document is {self._form}")


class Control:
    """One noun behind the door; `form` is how its documents look. What it does not override ends in a 405.

    `patient`: it is asked while nobody makes the appliance new, one question at a time.
    """

    form = "empty."
    patient = True

    def show(self, question: Question) -> dict[str, Any]:  # noqa: ARG002 - for those who have something to show
        """Return how things stand (GET)."""
        raise Refusal(405, "MethodNotAllowed", f"There is nothing to look at (GET); PUT {self.form}")

    def change(self, question: Question) -> dict[str, Any]:  # noqa: ARG002 - for those that can be changed
        """Do as the document says, all of it or nothing, and return how things stand then (PUT)."""
        raise Refusal(405, "MethodNotAllowed", "This can be looked at (GET), and not changed.")


def in_own_words(act: Callable[[], T], *errors: type[Ds3Error]) -> T:
    """Return what `act` returns; where it raises one of `errors`, refuse with its sentence and its hint."""
    try:
        return act()
    except errors as error:
        raise bad_request(f"{error.message}\n{error.hint or ''}") from error


def counted(items: Iterable[str]) -> dict[str, int]:
    """Return how often each of `items` came, in alphabetical order."""
    return dict(sorted(Counter(items).items()))
