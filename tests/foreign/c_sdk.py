"""What the vendor's C SDK puts on the wire through libcurl, and what it makes of the answers.

It sends the date in local time with a numeric offset, no Content-Type, `Accept: */*` first, and `Expect: 100-continue`
with every body; a plus sign bare in a path; parameters in the order of a hash table; XML with a declaration and
character references, the way libxml2 writes it. Of a reply it takes the reason phrase for an error's text, so that has
to be the usual one.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

from tests.foreign.exchange import Exchange, Reply
from tests.foreign.signed import Keys

_ZONE = timezone(timedelta(hours=-7))  # where the vendor is in winter
_SUB_RESOURCES = ("delete", "versioning", "versions")


class Ds3Error(Exception):
    """A status outside 2xx; `status_message` is the reason phrase."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"{reply.status} {reply.reason} {reply.body!r}")
        self.status_code, self.status_message = reply.status, reply.reason


def escape(text: str) -> str:
    """Return `text` as curl_easy_escape does: all but letters, digits and `-._~`."""
    return quote(text, safe="-._~")


@dataclass(frozen=True)
class CSdk:
    """A client over one libcurl handle."""

    exchange: Exchange
    keys: Keys

    def send(
        self,
        verb: str,
        path: str,
        parameters: Mapping[str, str | None] | None = None,
        *,
        body: bytes = b"",
        metadata: Mapping[str, str | None] | None = None,
        checksum: tuple[str, str] | None = None,
        spans: str | None = None,
    ) -> Reply:
        """Send a request whose path is unescaped; raise Ds3Error unless it is answered 2xx."""
        raw = quote(path, safe="-._~/+")
        pairs = list((parameters or {}).items())[::-1]  # any order will do
        query = "&".join(name if value is None else f"{name}={escape(value)}" for name, value in pairs)
        date = datetime.now(_ZONE).strftime("%a, %d %b %Y %H:%M:%S %z")
        amz = {f"x-amz-meta-{name}": value for name, value in (metadata or {}).items() if value}
        signed = [name if value is None else f"{name}={value}" for name, value in pairs if name in _SUB_RESOURCES]
        lines = [f"{name}:{amz[name]}" for name in sorted(amz)]
        resource = raw + ("?" + "&".join(signed) if signed else "")
        authorization = self.keys.authorization(verb, checksum[1] if checksum else "", "", date, *lines, resource)
        head = [f"{verb} {raw}{'?' if query else ''}{query} HTTP/1.1", f"Host: {self.exchange.authority}"]
        head.append("Accept: */*")
        if checksum:
            head.append(f"{checksum[0]}:{checksum[1]}")  # this one header it writes without a blank
        head += [f"Authorization: {authorization}", f"Date: {date}", *(f"{n}: {v}" for n, v in amz.items())]
        head += [f"Range: bytes={spans}"] if spans else []
        if verb in ("PUT", "POST"):
            head.append(f"Content-Length: {len(body)}")
        if body:
            head.append("Expect: 100-continue")
        reply = self.exchange.ask(head, body)
        if not 200 <= reply.status < 300:
            raise Ds3Error(reply)
        return reply

    def read(self, verb: str, path: str, parameters: Mapping[str, str | None] | None = None,
             *, body: bytes = b"") -> ET.Element:  # fmt: skip
        return ET.fromstring(self.send(verb, path, parameters, body=body).body)


def _document(root: ET.Element) -> bytes:
    return b'<?xml version="1.0"?>\n' + ET.tostring(root).replace(b" />", b"/>") + b"\n"


def to_put(sizes: Iterable[tuple[str, int]]) -> bytes:
    root = ET.Element("Objects")
    for name, size in sizes:
        ET.SubElement(root, "Object", {"Name": name, "Size": str(size)})
    return _document(root)


def to_get(names: Iterable[str]) -> bytes:
    """Return the body of a bulk get; its guarantee is an attribute of the list, as of old, beside the parameter."""
    root = ET.Element("Objects", {"ChunkClientProcessingOrderGuarantee": "NONE"})
    for name in names:
        ET.SubElement(root, "Object", {"Name": name})
    return _document(root)


def to_delete(keys: Iterable[str]) -> bytes:
    root = ET.Element("Delete")
    for key in keys:
        ET.SubElement(ET.SubElement(root, "Object"), "Key").text = key
    return _document(root)
