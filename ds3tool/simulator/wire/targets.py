"""Request targets kept raw for the signature, and read once: path segments, names, query parameters."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from ds3tool.lazy_dataclass import dataclass
from ds3tool.simulator.wire.refusals import bad_request

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_ABSOLUTE = re.compile(r"https?://[^/?]*", re.IGNORECASE)


def decode(text: str) -> str:
    """Return `text` with its `%XX` decoded once; a plus sign stays one. Raises a 400 when that is not UTF-8.

    What it is stays unsaid: it may be a secret.
    """
    if "%" not in text and text.isascii():
        return text
    try:
        return unquote_to_bytes(text.encode("latin-1")).decode("utf-8")
    except UnicodeError:
        raise bad_request("The request target holds what is not percent-encoded UTF-8.") from None


def check_name(name: str) -> str:
    """Return an object's name, or raise a 400 for one that is empty or that no XML document could list."""
    if not name:
        raise bad_request("An object needs a name.")
    if _FORBIDDEN.search(name):
        raise bad_request(f"The object name {name!r} holds a character that XML cannot carry.")
    return name


@dataclass(frozen=True, slots=True)
class Target:
    """A request target: `path` and `query` as they stood in the request line, and `parameters`, decoded.

    Parameter names are in lower case; the value of one without `=` is empty. A bare plus sign of a query is a blank,
    as in forms: rclone and whatever else stands on Go's net/url write blanks so, and all SDKs escape their plus signs.
    """

    path: str
    query: str
    parameters: dict[str, str]

    @classmethod
    def parse(cls, raw: str) -> Target:
        """Read the second word of a request line, in origin form or absolute form."""
        if not raw.startswith("/"):
            match = _ABSOLUTE.match(raw)
            if match is None:
                raise bad_request("The request target is not understood.")
            raw = raw[match.end() :]
            raw = raw if raw.startswith("/") else f"/{raw}"
        path, _, query = raw.partition("?")
        parameters: dict[str, str] = {}
        if query:
            for pair in query.split("&"):
                name, _, value = pair.partition("=")
                if name:
                    parameters[decode(name).lower()] = decode(value.replace("+", " "))
        return cls(path, query, parameters)

    def bucket_and_name(self) -> tuple[str, str | None]:
        """Return the bucket ("" for the service) and the object's name (None when only a bucket is addressed)."""
        bucket, slash, name = self.path[1:].partition("/")
        return decode(bucket), decode(name) if slash and name else None
