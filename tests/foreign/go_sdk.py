"""What the vendor's Go SDK puts on the wire through net/http, and what it makes of the answers.

net/http writes Host, User-Agent and Content-Length first, the other headers sorted and in its own spelling
(`Content-Md5`, `X-Amz-Meta-Name`), and offers gzip. Void parameters have an empty value. XML has start and end tags.
Its models have numbers, booleans and enumerations that cannot be empty.
"""

from __future__ import annotations

import email.utils
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from tests.foreign.exchange import Exchange, Reply
from tests.foreign.signed import Keys


class BadStatusCodeError(Exception):
    """A status that the call does not take."""

    def __init__(self, expected: Iterable[int], reply: Reply) -> None:
        super().__init__(f"expected {list(expected)} but got {reply.status}: {reply.body!r}")
        self.actual_status_code = reply.status


def escape_path(path: str) -> str:
    """Return a path as net/url and the SDK after it escape it: semicolon and plus sign too."""
    return quote(path, safe="-_.~$&,/:=@")


def canonical(name: str) -> str:
    """Return a header's name in the spelling of net/textproto."""
    return "-".join(part.capitalize() for part in name.split("-"))


@dataclass(frozen=True)
class GoSdk:
    """A client over one connection of the pool."""

    exchange: Exchange
    keys: Keys

    def send(
        self,
        verb: str,
        path: str,
        parameters: Mapping[str, str] | None = None,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        checksum: tuple[str, str] | None = None,
        expected: Iterable[int] = (200,),
    ) -> Reply:
        """Send a request whose path is unescaped; raise BadStatusCodeError for a status that is not expected."""
        raw = escape_path(path)
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted((parameters or {}).items()))
        date = email.utils.formatdate().replace("-0000", "+0000")
        extra = {canonical(name): value for name, value in (headers or {}).items()}
        lines = sorted(f"{n.lower()}:{v}" for n, v in extra.items() if n.startswith("X-Amz-Meta-"))
        signed = raw + "".join(f"?{name}" for name in ("delete", "uploads") if name in (parameters or {}))
        authorization = self.keys.authorization(verb, checksum[1] if checksum else "", "", date, *lines, signed)
        extra.update({"Authorization": authorization, "Date": date})
        if checksum:
            extra[canonical(checksum[0])] = checksum[1]
        head = [f"{verb} {raw}{'?' if query else ''}{query} HTTP/1.1", f"Host: {self.exchange.authority}"]
        head.append("User-Agent: Go-http-client/1.1")
        if verb in ("PUT", "POST") or body:
            head.append(f"Content-Length: {len(body)}")
        head += [f"{name}: {extra[name]}" for name in sorted(extra)]
        head.append("Accept-Encoding: gzip")
        reply = self.exchange.ask(head, body)
        assert reply.text("Content-Encoding") is None
        if reply.status not in expected:
            raise BadStatusCodeError(expected, reply)
        return reply

    def read(self, verb: str, path: str, parameters: Mapping[str, str] | None = None, *, body: bytes = b"",
             expected: Iterable[int] = (200,)) -> ET.Element:  # fmt: skip
        return ET.fromstring(self.send(verb, path, parameters, body=body, expected=expected).body)


def integer(text: str | None) -> int:
    """Return a number of a field that cannot be null; a ValueError for an empty one, a TypeError for none."""
    assert text is not None, "a number that the model holds as not nullable is missing"
    return int(text)


def boolean(text: str | None) -> bool:
    assert text in ("true", "false"), f"{text!r} is no boolean"
    return text == "true"


def to_put(sizes: Iterable[tuple[str, int]]) -> bytes:
    root = ET.Element("Objects")
    for name, size in sizes:
        ET.SubElement(root, "Object", {"Name": name, "Size": str(size)})
    return _document(root)


def to_get(objects: Iterable[Mapping[str, str]]) -> bytes:
    root = ET.Element("Objects")
    for attributes in objects:
        ET.SubElement(root, "Object", dict(attributes))
    return _document(root)


def to_delete(keys: Iterable[str]) -> bytes:
    root = ET.Element("Delete")
    for key in keys:
        ET.SubElement(ET.SubElement(root, "Object"), "Key").text = key
    return _document(root)


def _document(root: ET.Element) -> bytes:
    return ET.tostring(root, encoding="unicode", short_empty_elements=False).encode()
