"""What the vendor's .NET SDK puts on the wire through HttpWebRequest, and what it makes of the answers.

`Expect: 100-continue` with every body, an RFC 1123 date, plus signs bare in paths. Its readers demand attributes that
others do without, take words of enumerations in their own spelling only, insist on 206 when they sent a Range and on
200 when they did not, and read an error's body only when four elements are there.
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

_JOB_BOOLEANS = ("Aggregating", "Naked")
_JOB_NUMBERS = ("CachedSizeInBytes", "CompletedSizeInBytes", "OriginalSizeInBytes")
_JOB_WORDS = {
    "ChunkClientProcessingOrderGuarantee": {"NONE", "IN_ORDER"},
    "Priority": {"CRITICAL", "URGENT", "HIGH", "NORMAL", "LOW", "BACKGROUND"},
    "RequestType": {"PUT", "GET", "VERIFY"},
    "Status": {"IN_PROGRESS", "COMPLETED", "CANCELED"},
}
_ERROR = ("Code", "Message", "Resource", "ResourceId")


class BadStatusCodeError(Exception):
    """A status that the call does not take; `code` and `message` are None when the body was not understood."""

    def __init__(self, reply: Reply) -> None:
        error = ET.fromstring(reply.body) if reply.body else ET.Element("Error")
        texts = [error.findtext(name) for name in _ERROR]
        whole = all(text is not None for text in texts)
        self.status_code = reply.status
        self.code, self.message = (texts[0], texts[1]) if whole else (None, None)
        super().__init__(f"{reply.status} {self.code}: {self.message}")


@dataclass(frozen=True)
class DotNetSdk:
    """A client over one of the connections of the service point."""

    exchange: Exchange
    keys: Keys

    def send(
        self,
        verb: str,
        path: str,
        parameters: Mapping[str, str | None] | None = None,
        *,
        body: bytes = b"",
        spans: str | None = None,
        metadata: Mapping[str, str] | None = None,
        checksum: tuple[str, str] | None = None,
        expected: Iterable[int] = (200,),
    ) -> Reply:
        """Send a request whose path is unescaped; raise BadStatusCodeError for a status that is not expected."""
        raw = quote(path, safe="-._~/!$'()*,&=@:+")
        pairs = sorted((parameters or {}).items())
        query = "&".join(name if value is None else f"{name}={quote(value, safe='-._~')}" for name, value in pairs)
        date = email.utils.formatdate(usegmt=True)
        amz = {f"x-amz-meta-{quote(name)}": quote(value) for name, value in (metadata or {}).items()}
        lines = [f"{name}:{' '.join(amz[name].split())}" for name in sorted(amz)]
        signed = [n if not v else f"{n}={v}" for n, v in pairs if n in ("delete", "uploads", "versioning", "versions")]
        resource = raw + ("?" + "&".join(signed) if signed else "")
        authorization = self.keys.authorization(verb, checksum[1] if checksum else "", "", date, *lines, resource)
        head = [f"{verb} {raw}{'?' if query else ''}{query} HTTP/1.1", "User-Agent: Spectra S3 .Net Client"]
        head += [f"Date: {date}", f"Authorization: {authorization}", *(f"{n}: {v}" for n, v in amz.items())]
        head += [f"{checksum[0]}: {checksum[1]}"] if checksum else []
        head += [f"Range: bytes={spans}"] if spans else []
        head.append(f"Host: {self.exchange.authority}")
        if verb in ("PUT", "POST") or body:
            head.append(f"Content-Length: {len(body)}")
        if body:
            head.append("Expect: 100-continue")
        reply = self.exchange.ask(head, body)
        if reply.status not in expected:
            raise BadStatusCodeError(reply)
        return reply

    def read(self, verb: str, path: str, parameters: Mapping[str, str | None] | None = None,
             *, body: bytes = b"", expected: Iterable[int] = (200,)) -> ET.Element:  # fmt: skip
        return ET.fromstring(self.send(verb, path, parameters, body=body, expected=expected).body)


def master(root: ET.Element) -> ET.Element:
    """Return a MasterObjectList that has everything the SDK's parser demands, each of its kind."""
    assert all(root.attrib[name] in ("true", "false") for name in _JOB_BOOLEANS)
    assert all(int(root.attrib[name]) >= 0 for name in _JOB_NUMBERS)
    assert all(root.attrib[name] in words for name, words in _JOB_WORDS.items())
    assert all(UUID(root.attrib[name]) for name in ("JobId", "UserId"))
    assert datetime.fromisoformat(root.attrib["StartDate"])
    assert all(UUID(node.attrib["Id"]) for node in root.findall("Nodes/Node"))
    for chunk in root.findall("Objects"):
        assert UUID(chunk.attrib["ChunkId"])
        assert int(chunk.attrib["ChunkNumber"]) >= 0
        for blob in chunk.findall("Object"):
            assert blob.attrib["Latest"] in ("true", "false")
            assert int(blob.attrib["Length"]) >= 0
            assert int(blob.attrib["Offset"]) >= 0
            assert UUID(blob.attrib["VersionId"])
    return root


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


def _document(root: ET.Element) -> bytes:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode").replace("\n", "\r\n").encode()
