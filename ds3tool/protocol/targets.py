"""What a request line names: the path of a bucket, an object or a resource, and the parameters after it.

Whatever could not arrive as it was meant is refused with UsageError: an empty bucket, key or id (the path would then
name something larger), text that UTF-8 cannot carry, numbers that cannot be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias
from urllib.parse import quote

from ds3tool.errors import UsageError
from ds3tool.protocol import names

Query: TypeAlias = tuple[tuple[str, str | None], ...]

# Letters, digits and these stand for themselves in a path; so every SDK's decoder, and the signature, agree.
_NEEDS_QUOTING = re.compile(r"[^A-Za-z0-9\-._~/]", re.ASCII)
REST = "/_rest_/"


def quote_path(text: str) -> str:
    """Return `text` percent-encoded as a path, slashes left: `//`, `.` and `..` go through untouched.

    UsageError for lone surrogates, which UTF-8 cannot express.
    """
    if _NEEDS_QUOTING.search(text) is None:
        return text
    try:
        return quote(text, safe="/")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{text!a} holds half of a surrogate pair, which UTF-8 cannot express", hint="give it another key"
        ) from error


def bucket_path(bucket: str) -> str:
    """Return the path of a bucket."""
    if not bucket:
        raise UsageError("the name of the bucket is empty")
    if bucket == "_rest_":
        raise UsageError("no bucket can be called _rest_: that path is the appliance's own")
    return "/" + quote_path(bucket).replace("/", "%2F")


def object_path(bucket: str, key: str) -> str:
    """Return the path of an object."""
    return f"{bucket_path(bucket)}/{object_key(key)}"


def object_key(key: str) -> str:
    """Return what names an object after its bucket's path and a slash."""
    if not key:
        # DELETE with an empty key would delete the bucket.
        raise UsageError("the key of an object is empty")
    return quote_path(key)


def stand_for_themselves(keys: Sequence[str]) -> bool:
    """Whether `object_key` would return each of these as it is."""
    return all(keys) and _NEEDS_QUOTING.search("".join(keys)) is None


def rest(resource: str, identifier: str | None = None) -> str:
    """Return a path below `/_rest_/`; `identifier` is a UUID or another unique name."""
    if identifier is None:
        return REST + resource
    if identifier in {"", ".", ".."}:
        # An empty one would name all of them: DELETE /_rest_/job/ gives up every job there is.
        raise UsageError(f"the {resource.replace('_', ' ')} to use has no name or id: {identifier!r}")
    return f"{REST}{resource}/{quote_path(identifier).replace('/', '%2F')}"


def _text(value: str, what: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{what} {value!a} holds text that UTF-8 cannot express") from error
    return value


def boolean(value: bool) -> str:
    """Return a truth as parameters spell it."""
    return "true" if value else "false"


def query_of(given: Mapping[str, object]) -> Query:
    """Return the parameters that are not None: True is void, False is left out, the rest as text."""
    query: list[tuple[str, str | None]] = []
    for name, value in given.items():
        if value is None or value is False:
            continue
        query.append((name, None if value is True else _text(str(value), name.replace("_", " "))))
    return tuple(query)


def page(length: int, offset: int) -> dict[str, object]:
    """Return the parameters of one page of a list, cut to what an appliance gives at once."""
    count(length, "a page's length", least=1)
    count(offset, "a page's offset")
    return {"page_length": min(length, names.MAX_KEYS_PER_REQUEST), "page_offset": offset}


def count(value: int, what: str, *, least: int = 0) -> None:
    """Raise UsageError, naming `what`, for a number below `least`."""
    if value < least:
        raise UsageError(f"{what} cannot be {value}")


def option(value: bool | None) -> str | None:
    """Return a truth as parameters spell it; None, for what is not given, stays None."""
    return None if value is None else boolean(value)
