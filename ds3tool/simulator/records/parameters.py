"""Parameters of a query as values of the property that they set or filter by, after the contract's types."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ds3tool.simulator.contract import Kind, Property, words
from ds3tool.simulator.ids import is_uuid
from ds3tool.simulator.records.paging import matcher
from ds3tool.simulator.records.references import resolve
from ds3tool.simulator.wire.refusals import bad_request

if TYPE_CHECKING:
    from ds3tool.simulator.dispatch import Call

_NUMBERS = ("int", "integer", "long")
# Milliseconds since 1970 have had more digits than this since 1973; seconds will not for three thousand years.
_LAST_SECOND = 100_000_000_000
# The end of the year 9999.
_LAST_DATE = 253_402_300_799
_BUCKET_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")
_AFFIX = re.compile(r"[a-z0-9.-]{0,63}")


def property_of(kind: Kind, parameter: str) -> Property | None:
    """Return the property that a parameter speaks of: `DataPolicyId` for `data_policy_id`; None for another's."""
    return kind.property("".join(word.capitalize() for word in parameter.split("_")))


def read(call: Call, parameter: str, each: Property) -> object:
    """Return a parameter as the value to store in a property: JSON, dates as seconds, references as ids.

    Empty is null. Raises a 400 for what the property cannot hold, null among it, and a 404 for a reference to nothing.
    """
    text = call.parameters[parameter]
    if not text:
        if each.nullable:
            return None
        if each.type == "String" and each.default == "":
            return ""
        raise bad_request(f"The parameter {parameter} is empty.")
    if each.type == "String":
        _check_form(parameter, text, each)
        return text
    return _typed(call, parameter, each, text)


def _typed(call: Call, parameter: str, each: Property, text: str) -> object:
    lower = each.type.lower()
    if lower == "boolean":
        return call.flag(parameter)
    if lower in _NUMBERS:
        return call.number(parameter)
    if lower == "double":
        return fraction(parameter, text)
    if lower == "date":
        return moment(text)
    if lower == "uuid":
        return _identifier(call, parameter, each, text)
    allowed = words(each.type)
    return text if allowed is None else call.choice(parameter, allowed)


def _identifier(call: Call, parameter: str, each: Property, text: str) -> str:
    if each.refers is not None:
        return resolve(call.machine, each.refers, text)
    if not is_uuid(text):
        raise bad_request(f"The parameter {parameter} is '{text}', not a UUID.")
    return text.lower()


def _check_form(parameter: str, text: str, each: Property) -> None:
    if each.like == "bucket-name" and not _BUCKET_NAME.fullmatch(text):
        raise bad_request(f"The parameter {parameter} is '{text}', which no bucket can be called.")
    if each.like == "cloud-affix" and not is_affix(text, first=each.name.endswith("Prefix")):
        raise bad_request(f"The parameter {parameter} is '{text}', which no bucket in a cloud can have in its name.")


def is_affix(text: str, *, first: bool) -> bool:
    """Tell whether a cloud bucket's name can have `text` as its first part, or as its last.

    Lower case letters, digits, dots and hyphens, no dot beside another or beside a hyphen, none of both at the begin
    of the first part, no hyphen at the end of the last.
    """
    if not _AFFIX.fullmatch(text) or any(pair in text for pair in ("..", ".-", "-.")):
        return False
    return not text.startswith((".", "-")) if first else not text.endswith("-")


def fraction(parameter: str, text: str) -> float:
    """Return a number of 0 or more with decimals; a 400 for anything else."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise bad_request(f"The parameter {parameter} is '{text}', not a number.")
    return number


def moment(text: str) -> float:
    """Return seconds since 1970 of a date: ISO 8601, or a number of seconds or milliseconds.

    A 400 for another text, and for a date before 1970 or after the year 9999.
    """
    from datetime import UTC, datetime

    if text.isascii() and text.isdigit() and len(text) < 16:
        number = int(text)
        seconds = number / 1000 if number > _LAST_SECOND else float(number)
    else:
        try:
            parsed = datetime.fromisoformat(text)
        except ValueError:
            raise bad_request(f"'{text}' is not a date.") from None
        seconds = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    if not 0 <= seconds <= _LAST_DATE:
        raise bad_request(f"'{text}' is no date that can be told.")
    return seconds


def test_of(call: Call, parameter: str, each: Property) -> Callable[[Any], bool]:
    """Return the test of a list's filter on the values of a property; empty asks for null.

    Texts may hold wild cards; a name that names nothing is a 404, but an id that nothing has any more matches nothing,
    as a suite of the vendor's has it.
    """
    text = call.parameters[parameter]
    if not text:
        return lambda value: value is None or value == ""
    if each.type == "String":
        matches = matcher(text)
        return lambda value: value is not None and matches(str(value))
    wanted = text.lower() if each.refers is not None and is_uuid(text) else _typed(call, parameter, each, text)
    if isinstance(wanted, float) and each.type == "Date":  # what was shown had milliseconds
        return lambda value: value is not None and round(value * 1000) == round(wanted * 1000)
    return lambda value: bool(value == wanted)
