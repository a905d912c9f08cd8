"""Signs requests: AWS signature version 2, with DS3's checksum slot.

The form is the Java SDK's, which the appliance checks first: `x-amz-meta-` lines lower-cased and sorted, and of the
query only `delete`, `uploads`, `versioning` and `versions`, each with a question mark of its own.
"""

from __future__ import annotations

import hashlib
import time
from binascii import b2a_base64
from collections.abc import Callable, Iterable
from dataclasses import field

from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol import names
from ds3tool.protocol.messages import Request

_BLOCK_BYTES = 64  # SHA-1's, of which HMAC makes its pads
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The pair an appliance hands to a user; the secret never shows."""

    access_id: str
    secret_key: str = field(repr=False)


def string_to_sign(
    method: str,
    path: str,
    date: str,
    *,
    checksum: str = "",
    content_type: str = "",
    amz_headers: Iterable[tuple[str, str]] = (),
    sub_resources: Iterable[tuple[str, str | None]] = (),
) -> str:
    """Return the text whose HMAC is the signature.

    `path` is the encoded path of the request line, `date` the Date header as sent, `amz_headers` the
    `x-amz-meta-` headers in any order, `sub_resources` the whole query: what is not signed is left out here.
    """
    lines = sorted((name.lower(), value) for name, value in amz_headers)
    amz = "".join(f"{name}:{value}\n" for name, value in lines)
    return f"{method}\n{checksum}\n{content_type}\n{date}\n{amz}{path}{_signed_query(tuple(sub_resources))}"


def _signed_query(query: tuple[tuple[str, str | None], ...]) -> str:
    if not query:
        return ""
    given = dict(query)
    signed = "".join(f"?{name}" for name in ("delete", "uploads") if name in given)
    if "versioning" in given:
        signed += f"?versioning={given['versioning'] or ''}"
    return signed + ("?versions" if "versions" in given else "")


class Signer:
    """Makes Authorization headers. Keeps two SHA-1 states instead of the secret; may be shared by threads."""

    def __init__(self, credentials: Credentials) -> None:
        key = credentials.secret_key.encode()
        if len(key) > _BLOCK_BYTES:
            key = hashlib.sha1(key, usedforsecurity=False).digest()
        key = key.ljust(_BLOCK_BYTES, b"\0")
        # Copying a state that has swallowed its pad costs a third of a whole HMAC. Source: our measurements.
        self._inner = hashlib.sha1(key.translate(_INNER), usedforsecurity=False)
        self._outer = hashlib.sha1(key.translate(_OUTER), usedforsecurity=False)
        self._prefix = f"AWS {credentials.access_id}:"

    def __repr__(self) -> str:
        return "<Signer>"

    def authorization(
        self,
        method: str,
        path: str,
        date: str,
        *,
        checksum: str = "",
        content_type: str = "",
        amz_headers: Iterable[tuple[str, str]] = (),
        sub_resources: Iterable[tuple[str, str | None]] = (),
    ) -> str:
        """Return the Authorization header's value; the arguments are those of `string_to_sign`."""
        text = string_to_sign(
            method,
            path,
            date,
            checksum=checksum,
            content_type=content_type,
            amz_headers=amz_headers,
            sub_resources=sub_resources,
        )
        return self._prefix + self._signature(text.encode())

    def sign(self, request: Request, date: str) -> str:
        """Return the Authorization header's value for `request`, whose Date header is going to be `date`."""
        content_type = ""
        amz_headers: list[tuple[str, str]] = []
        for name, value in request.headers:
            lower = name.lower()
            if lower.startswith(names.METADATA):
                amz_headers.append((lower, value))
            elif lower == "content-type":
                content_type = value
        return self.authorization(
            request.method,
            request.path,
            date,
            checksum=request.checksum,
            content_type=content_type,
            amz_headers=amz_headers,
            sub_resources=request.query,
        )

    def for_blobs(self, method: str) -> Callable[[str, str, str], str]:
        """Return a quick signer of `method` requests without content type, metadata or signed query.

        It is called as `(path, date, checksum)` and returns the Authorization header's value in about a
        microsecond; `checksum` is the checksum header's value or the empty string.
        """
        start = self._inner.copy()
        start.update(f"{method}\n".encode())
        copy_inner, copy_outer, prefix, to_base64 = start.copy, self._outer.copy, self._prefix, b2a_base64

        def sign_blob(path: str, date: str, checksum: str) -> str:
            inner = copy_inner()
            inner.update(f"{checksum}\n\n{date}\n{path}".encode())
            outer = copy_outer()
            outer.update(inner.digest())
            return prefix + to_base64(outer.digest(), newline=False).decode()

        return sign_blob

    def _signature(self, text: bytes) -> str:
        inner = self._inner.copy()
        inner.update(text)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return b2a_base64(outer.digest(), newline=False).decode()


_last_date: tuple[int, str] = (-1, "")


def http_date(now: float) -> str:
    """Return `now`, in seconds since 1970, as a Date header's value; kept for the second it names."""
    global _last_date  # noqa: PLW0603 - one immutable pair, replaced whole: threads see either of two true ones
    second = int(now)
    known, text = _last_date
    if known == second:
        return text
    at = time.gmtime(second)
    text = (
        f"{_DAYS[at.tm_wday]}, {at.tm_mday:02d} {_MONTHS[at.tm_mon - 1]} {at.tm_year:04d} "
        f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} GMT"
    )
    _last_date = (second, text)
    return text
