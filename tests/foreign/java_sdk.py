"""What the vendor's Java SDK puts on the wire through Apache's client, and what it makes of the answers.

`HOST` and `DATE` in capitals, a Content-Type on every request, `Naming-Convention: s3`, sorted parameters, metadata
percent-encoded. It reads `Retry-After` without looking whether it is there, and knows a blob of a later list only when
every attribute but InCache has the same text as in the first list.
"""

from __future__ import annotations

import email.utils
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote
from uuid import UUID

from tests.foreign.exchange import Exchange, Reply
from tests.foreign.signed import Keys

_SUB_RESOURCES = ("delete", "uploads", "versioning", "versions")
_BLOB = ("Bucket", "Id", "Latest", "Length", "Name", "Offset", "VersionId")
BlobKey = tuple[str | None, ...]


class FailedRequestError(Exception):
    """A status that the call does not take, with the error document's code and message."""

    def __init__(self, reply: Reply) -> None:
        error = ET.fromstring(reply.body) if reply.body else ET.Element("Error")
        self.status_code, self.code = reply.status, error.findtext("Code") or ""
        super().__init__(f"{reply.status} {self.code}: {error.findtext('Message')}")


@dataclass(frozen=True)
class JavaSdk:
    """A client over one connection of the pool."""

    exchange: Exchange
    keys: Keys

    def send(
        self,
        verb: str,
        path: str,
        parameters: Mapping[str, str | None] | None = None,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        checksum: tuple[str, str] | None = None,
        expected: Iterable[int] = (200,),
        kind: str = "application/xml",
    ) -> Reply:
        """Send a request whose path is unescaped; raise FailedRequestError for a status that is not expected."""
        raw = quote(path, safe="-._~/!$'()*,&=@:")
        pairs = sorted((parameters or {}).items())
        query = "&".join(n if v is None else f"{n}={quote(v, safe='-._~!$' + chr(39) + '()*,@/')}" for n, v in pairs)
        date = email.utils.formatdate().replace("-0000", "+0000")
        amz = {f"x-amz-meta-{escaped(name)}": escaped(value) for name, value in (metadata or {}).items()}
        lines = [f"{name.lower()}:{amz[name]}" for name in sorted(amz)]
        signed = raw + "".join(f"?{n}={v}" if n == "versioning" else f"?{n}" for n, v in pairs if n in _SUB_RESOURCES)
        authorization = self.keys.authorization(verb, checksum[1] if checksum else "", kind, date, *lines, signed)
        head = [f"{verb} {raw}{'?' if query else ''}{query} HTTP/1.1", f"HOST: {self.exchange.authority}"]
        head += [f"DATE: {date}", f"Content-Type: {kind}", *(f"{n}: {v}" for n, v in amz.items())]
        head += [f"{name}: {value}" for name, value in (headers or {}).items()]
        head += [f"{checksum[0]}: {checksum[1]}"] if checksum else []
        head += ["Naming-Convention: s3", f"Authorization: {authorization}", "User-Agent: ds3_java_sdk-5.8.1"]
        if verb in ("PUT", "POST") or body:
            head.append(f"Content-Length: {len(body)}")
        head.append("Connection: Keep-Alive")
        reply = self.exchange.ask(head, body)
        if reply.status not in expected:
            raise FailedRequestError(reply)
        return reply

    def read(self, verb: str, path: str, parameters: Mapping[str, str | None] | None = None,
             *, body: bytes = b"", expected: Iterable[int] = (200,)) -> ET.Element:  # fmt: skip
        return ET.fromstring(self.send(verb, path, parameters, body=body, expected=expected).body)


def escaped(text: str) -> str:
    """Return metadata as it stands in a header."""
    return quote(text, safe="!#$&'*-.~^_|`")


def retry_after(reply: Reply) -> int:
    """Return the first value of Retry-After; an AssertionError where the SDK has an index out of bounds."""
    text = reply.text("Retry-After")
    assert text is not None, "the SDK takes the first of no values"
    return int(text)


def blobs(root: ET.Element) -> dict[BlobKey, bool]:
    """Return the blobs of a list, as the SDK compares them, and whether each is in the cache."""
    found: dict[BlobKey, bool] = {}
    for blob in root.iter("Object"):
        UUID(blob.attrib["Id"])
        in_cache = blob.attrib["InCache"]  # unboxed: it must be there
        assert in_cache in ("true", "false")
        found[tuple(blob.get(name) for name in _BLOB)] = in_cache == "true"
    return found


def date(text: str | None) -> datetime:
    """Return a date; a ValueError for one that is not ISO 8601."""
    assert text
    return datetime.fromisoformat(text)


def to_put(sizes: Mapping[str, int]) -> bytes:
    root = ET.Element("Objects")
    for name, size in sizes.items():
        ET.SubElement(root, "Object", {"Name": name, "Size": str(size)})
    return _document(root)


def to_get(*objects: Mapping[str, str]) -> bytes:
    root = ET.Element("Objects")
    for attributes in objects:
        ET.SubElement(root, "Object", dict(attributes))
    return _document(root)


def to_delete(keys: Iterable[str], *, quiet: bool | None = None) -> bytes:
    root = ET.Element("Delete")
    if quiet is not None:
        ET.SubElement(root, "Quiet").text = str(quiet).lower()
    for key in keys:
        ET.SubElement(ET.SubElement(root, "Object"), "Key").text = key
    return _document(root)


def _document(root: ET.Element) -> bytes:
    return ET.tostring(root, encoding="unicode").replace(" />", "/>").encode()
