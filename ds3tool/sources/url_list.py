"""Lists of URLs: what a line says, and what of a URL may be shown and kept: never its query, which may be a secret."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import field, replace
from urllib.parse import parse_qsl, unquote, urlsplit

from ds3tool.errors import SourceError
from ds3tool.lazy_dataclass import dataclass

_SCHEMES = frozenset({"http", "https"})
# The one part of a presigned URL's query that says which bytes are meant. Source: S3 API reference, GetObject.
_VERSION = "versionId"


@dataclass(frozen=True, slots=True)
class UrlName:
    """What of a URL tells it from others and is no secret: all before its query, a version that the query names.

    `repeat` counts, from 0, those before it in the list that are equal so far. The query of two lists may differ, as
    when one of them was signed anew.
    """

    bare: str
    version: str | None = None
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class ListedUrl:
    """One line of a list: the URL, with its secrets, and the key it is given there, if any."""

    name: UrlName
    line: int
    url: str = field(repr=False)
    key: str | None = None

    @property
    def path(self) -> str:
        """The URL's path without its leading slash, its escapes undone: what its key is made of."""
        return unquote(urlsplit(self.url).path, errors="surrogateescape").removeprefix("/")


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no URL. The error quotes nothing of it: it may hold a secret."""

    line: int
    error: SourceError


def bare(url: str) -> str:
    """Return a URL without what may be secret in it: its query, its fragment, a name and a password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def is_url(text: str) -> bool:
    """Whether a text is typed as a URL of the web, however incomplete."""
    return text.partition("://")[0].lower() in _SCHEMES and "://" in text


def read_list(lines: Iterable[bytes], *, origin: str) -> Iterator[ListedUrl | BadLine]:
    """Yield what the lines of a list say, in their order; empty ones and those that begin with `#` are left out.

    A line is a URL, and after a tab the key that it is given below the target.
    """
    seen: dict[UrlName, int] = {}
    for number, given in enumerate(lines, start=1):
        if not given.strip() or given.startswith(b"#"):
            continue
        try:
            one = parse_line(given, number, origin=origin)
        except SourceError as error:
            yield BadLine(number, error)
            continue
        repeat = seen.get(one.name, 0)
        seen[one.name] = repeat + 1
        yield replace(one, name=replace(one.name, repeat=repeat)) if repeat else one


def parse_line(given: bytes, number: int, *, origin: str) -> ListedUrl:
    """Return what a line says; SourceError, which quotes nothing of it, when it is no URL that can be read."""
    place = f"line {number} of {origin}"
    hint = "a line is an http:// or https:// URL, and after a tab the key to give it"
    try:
        text = given.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise SourceError(f"{place} is not UTF-8 text", hint=hint) from error
    url, tab, key = text.partition("\t")
    url = url.strip(" ")
    try:
        parts = urlsplit(url)
        whole = parts.scheme.lower() in _SCHEMES and parts.hostname and (parts.port or True)
    except ValueError:
        whole = False
    if not whole or any(letter <= " " or letter == "\x7f" for letter in url):
        raise SourceError(f"{place} is no URL that can be read", hint=hint)
    if "@" in parts.netloc:
        raise SourceError(f"{place} has a name or a password in it", hint="sign the URL instead")
    if tab and not key:
        raise SourceError(f"{place} has a tab, and no key after it", hint=hint)
    version = dict(parse_qsl(parts.query)).get(_VERSION)
    return ListedUrl(UrlName(bare(url), version), number, url, key or None)


@dataclass(frozen=True, slots=True)
class UrlPin:
    """What a source's own name tells of an object beside its ETag: its URL without the secrets, its line, its state.

    `modified` is the text of Last-Modified. `ranges`: the server gives parts of it.
    """

    name: UrlName
    line: int
    modified: str | None
    ranges: bool

    def to_text(self) -> str:
        """Return this as a text; `of` reads it."""
        told = [self.name.bare, self.name.version, self.name.repeat, self.line, self.modified, self.ranges]
        return json.dumps(told, separators=(",", ":"))

    @classmethod
    def of(cls, text: str) -> UrlPin:
        """Return what `to_text` has made a text of; SourceError for anything else."""
        try:
            address, version, repeat, line, modified, ranges = json.loads(text)
            return cls(UrlName(str(address), version, int(repeat)), int(line), modified, ranges is True)
        except (ValueError, TypeError) as error:
            raise SourceError("the name of an object from a list of URLs cannot be read") from error
