"""A request and a reply as values. The transport adds what only it knows: Host, Date, signature, length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import Protocol
from urllib.parse import quote

from ds3tool.lazy_dataclass import dataclass


class BlockBody(Protocol):
    """A body too large for one `bytes`: its length is known, and it can be walked again for a second sending."""

    @property
    def length(self) -> int:
        """Bytes that one walk yields in all."""
        ...

    def __iter__(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Request:
    """One call, before it is signed.

    `path` is percent-encoded already and without the query; `query` holds decoded names and values, None for a
    void parameter. `headers` are those beyond Host, Date, Authorization and Content-Length. `body` is the call's
    own document; the bytes of an object travel beside the request. `checksum` is the value of the one checksum
    header among `headers`, which the signature covers. `idempotent`: sending it twice does no more than once.
    """

    method: str
    path: str
    query: tuple[tuple[str, str | None], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | BlockBody = b""
    checksum: str = ""
    idempotent: bool = True

    @property
    def target(self) -> str:
        """The request line's second word: path and query, encoded."""
        if not self.query:
            return self.path
        return f"{self.path}?{'&'.join(_parameter(name, value) for name, value in self.query)}"


def _parameter(name: str, value: str | None) -> str:
    return name if value is None else f"{name}={quote(value, safe='-._~')}"


class Headers(Mapping[str, str]):
    """Reply headers: names without regard to case, in the order they came; a name given twice is joined by `, `."""

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        values: dict[str, str] = {}
        for name, value in pairs:
            lower = name.lower()
            values[lower] = f"{values[lower]}, {value}" if lower in values else value
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Headers({self._values!r})"


@dataclass(frozen=True, slots=True)
class Response:
    """One reply. `body` yields its bytes as they arrive, once; whoever reads it reads it to the end."""

    status: int
    headers: Headers = field(default_factory=Headers)
    body: Iterable[bytes] = ()
    reason: str = ""
