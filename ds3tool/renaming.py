"""How a relative name becomes another: a prefix that is left out, and a map of names; a leaf."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

from ds3tool.errors import UsageError
from ds3tool.lazy_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Renaming:
    """What `--strip-prefix` and `--rename-map` mean for a name, in this order.

    `strip` is left out where a name begins with it. `names` maps whole names; one that ends in a slash maps
    everything below it, and the longest that fits wins. What is in neither keeps its name.
    """

    strip: str = ""
    names: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, name: str) -> str:
        """Return the new name."""
        name = name.removeprefix(self.strip)
        if not self.names:
            return name
        whole = self.names.get(name)
        if whole is not None:
            return whole
        end = len(name)
        while (end := name.rfind("/", 0, end)) >= 0:
            prefix = name[: end + 1]
            if prefix in self.names:
                return self.names[prefix] + name[end + 1 :]
        return name

    def of_all(self, names: Sequence[str]) -> list[str]:
        """Return the new names of several."""
        if self.names:
            return list(map(self, names))
        strip = self.strip
        return [name.removeprefix(strip) for name in names] if strip else list(names)


def parse_rename_map(lines: Iterable[str], *, origin: str) -> dict[str, str]:
    """Return the map that `lines` hold: an old name, a tab, a new name; empty lines are left out.

    Raises UsageError, naming `origin` and the line, for anything else and for an old name that comes twice.
    """
    names: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        text = line.rstrip("\r\n")
        if not text:
            continue
        old, tab, new = text.partition("\t")
        if not tab or not old or "\t" in new:
            raise UsageError(
                f"{origin}, line {number}: {text!r} is not a pair of names",
                hint="each line is an old name, a tab, a new name; a name that ends in a slash means all below it",
            )
        if old.endswith("/") != new.endswith("/") and new:
            raise UsageError(f"{origin}, line {number}: {old!r} and {new!r}: both end in a slash, or neither")
        if old in names:
            raise UsageError(f"{origin}, line {number}: {old!r} is there twice")
        if not new and not old.endswith("/"):
            raise UsageError(f"{origin}, line {number}: {old!r} is given no new name")
        names[old] = new
    return names
