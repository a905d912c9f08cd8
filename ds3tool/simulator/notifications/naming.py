"""How names are written in a notification: as the appliance has them, or as its receiver would rather have them."""

from __future__ import annotations

import re
from collections.abc import Callable

_WORD = re.compile("[A-Z][a-z0-9]*|[a-z0-9]+")
DEFAULT = "CAMEL_CASE_WITH_FIRST_LETTER_UPPERCASE"


def _words(name: str) -> list[str]:
    """Return the words of a name in camel case: `S3`, `Objects`, `Lost`."""
    return _WORD.findall(name)


def _lower_first(name: str) -> str:
    first, *others = _words(name)
    return "".join((first.lower(), *others))


_CONVENTIONS: dict[str, Callable[[str], str]] = {
    DEFAULT: lambda name: name,
    "CAMEL_CASE_WITH_FIRST_LETTER_LOWERCASE": _lower_first,
    "CONCAT_LOWERCASE": lambda name: name.lower(),
    "CONSTANT": lambda name: "_".join(_words(name)).upper(),
    "UNDERSCORED": lambda name: "_".join(_words(name)).lower(),
}


def convention(word: str) -> Callable[[str], str]:
    """Return how names are written under a NamingConventionType; KeyError for a word that is none."""
    return _CONVENTIONS[word]
