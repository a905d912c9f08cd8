"""What the vendor's Python SDK puts on the wire, and what it makes of the answers.

It speaks through http.client with a connection of its own for each request, so this one does too. Its signature and
its header names differ from those of every other client; its reader of answers takes an element that is missing for
None, but fails when the element around a list is missing.
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
import hmac
import http.client
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import quote, urlsplit

_CHECKSUMS = ("Content-CRC32", "Content-CRC32C", "Content-MD5", "Content-SHA256", "Content-SHA512")
_OCTETS = "application/octet-stream"
_SENDS = 6  # one, and five more after a 307

# What its reader makes: dictionaries of texts, None, dictionaries, and lists of those.
Result: TypeAlias = dict[str, Any]
# None as a value is a parameter without `=`.
Parameters: TypeAlias = Mapping[str, object]
Metadata: TypeAlias = Mapping[str, str | list[str]]


class RequestFailedError(Exception):
    """A status that the call does not take; the code and message are those of the body, or the reason phrase."""

    def __init__(self, status: int, code: str, message: str | None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.http_error_code, self.code, self.message = status, code, message


@dataclass(frozen=True)
class Model:
    """What is read of an element: attributes, child elements, and lists of children as (name, wrapper, model)."""

    attributes: tuple[str, ...] = ()
    elements: Mapping[str, Model | None] = field(default_factory=dict)
    lists: tuple[tuple[str, str | None, Model], ...] = ()


def bean(*elements: str, **models: Model) -> Model:
    return Model(elements={**dict.fromkeys(elements), **models})


def read(root: ET.Element, model: Model | None) -> Result | str | None:
    """Return what the SDK makes of an element; a TypeError when a wrapper is missing, as its loop over None gives."""
    if model is None:
        return root.text
    result: Result = {name: root.attrib.get(name) for name in model.attributes}
    for name, inner in model.elements.items():
        child = root.find(name)
        result[name] = None if child is None else read(child, inner)
    for name, wrapper, inner in model.lists:
        around = root if wrapper is None else root.find(wrapper)
        if around is None:
            raise TypeError(f"'NoneType' object is not iterable: there is no {wrapper}")
        result[f"{name}List"] = [read(child, inner) for child in around.findall(name)]
    return result


@dataclass(frozen=True)
class Answer:
    """A reply whose status the call takes. Header names are as sent: the SDK compares them literally."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def read(self, model: Model) -> Result:
        result = read(ET.fromstring(self.body), model)
        assert isinstance(result, dict)
        return result

    def number(self, name: str) -> int | None:
        """Return a paging header's number; None when no header is spelled so."""
        return next((int(value) for key, value in self.headers if key == name), None)

    def text(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def metadata(self) -> dict[str, list[str]]:
        prefix = "x-amz-meta-"
        return {k.removeprefix(prefix): v.split(",") for k, v in self.headers if k.startswith(prefix)}


class Stream:
    """The body of an object's put: http.client reads it in blocks, once."""

    def __init__(self, data: bytes) -> None:
        self._left = data

    def read(self, size: int = -1) -> bytes:
        size = len(self._left) if size < 0 else size
        block, self._left = self._left[:size], self._left[size:]
        return block


@dataclass(frozen=True)
class PythonSdk:
    """A client of the vendor's, over http.client."""

    endpoint: str
    access_id: str
    key: str

    def send(
        self,
        verb: str,
        path: str,
        parameters: Parameters | None = None,
        *,
        body: bytes | Stream | None = None,
        headers: Mapping[str, object] | None = None,
        expected: Iterable[int] = (200,),
    ) -> Answer:
        """Send a request, again after a 307, and return its answer; raise RequestFailedError for another status."""
        for attempt in range(1, _SENDS + 1):
            answer = self._once(verb, path, parameters or {}, body, headers or {})
            if answer.status != 307 or attempt == _SENDS:
                break
        if answer.status in expected:
            return answer
        raise _failure(answer)

    def _once(
        self, verb: str, path: str, parameters: Parameters, body: bytes | Stream | None, extra: Mapping[str, object]
    ) -> Answer:
        parts = urlsplit(self.endpoint)
        raw = quote(path)
        date = email.utils.formatdate()
        sent: dict[str, Any] = {"Host": parts.netloc, "Date": date}
        amz: dict[str, str] = {}
        checksum = ""
        for name, value in extra.items():
            if name == "Content-Length" or name in _CHECKSUMS:
                sent[name] = value
                checksum = checksum if name == "Content-Length" else str(value)
            else:
                amz[name if name.startswith("x-amz-meta-") else f"x-amz-meta-{name}"] = _joined(value)
        sent.update(amz)
        resource = raw + _sub_resources(parameters)
        if body is None:
            text = f"{verb}\n\n\n{date}\n{resource}"
        else:
            sent["Content-Type"] = _OCTETS
            lines = "".join(sorted(f"{name}:{value}\n" for name, value in amz.items()))
            text = f"{verb}\n{checksum}\n{_OCTETS}\n{date}\n{lines}{resource}"
        sent["Authorization"] = f"AWS {self.access_id}:{_signature(self.key, text)}"
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        try:
            connection.request(verb, raw + _query(parameters), body=body, headers=sent)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()


def _joined(value: object) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


def _query(parameters: Parameters) -> str:
    pairs = (name if value is None else f"{name}={quote(str(value))}" for name, value in parameters.items())
    return "?" + "&".join(pairs) if parameters else ""


def _sub_resources(parameters: Parameters) -> str:
    signed = "?delete" if "delete" in parameters else ""
    for name in ("versioning", "versions", "uploads"):
        if name in parameters:
            value = parameters[name]
            signed += f"?{name}" if value is None else f"?{name}={value}"
    return signed


def _signature(key: str, text: str) -> str:
    return base64.encodebytes(hmac.new(key.encode(), text.encode(), hashlib.sha1).digest()).strip().decode()


def _failure(answer: Answer) -> RequestFailedError:
    """Read the error document as the SDK does: any body that is not empty is XML and holds a whole number."""
    if not answer.body:
        return RequestFailedError(answer.status, http.client.responses[answer.status], None)
    root = ET.fromstring(answer.body)
    texts = {name: root.findtext(f".//{name}") or "" for name in ("Code", "HttpErrorCode", "Message")}
    return RequestFailedError(int(texts["HttpErrorCode"]), texts["Code"], texts["Message"])


def objects(*entries: Mapping[str, object]) -> bytes:
    """Return the body of a bulk call, as ElementTree writes it."""
    root = ET.Element("Objects")
    for entry in entries:
        ET.SubElement(root, "Object", {name: str(value) for name, value in entry.items()})
    return ET.tostring(root)


def to_put(sizes: Mapping[str, int]) -> bytes:
    return objects(*({"Name": name, "Size": size} for name, size in sizes.items()))


def to_get(*names: str) -> bytes:
    return objects(*({"Name": name} for name in names))


def to_delete(*keys: str) -> bytes:
    root = ET.Element("Delete")
    for key in keys:
        ET.SubElement(ET.SubElement(root, "Object"), "Key").text = key
    return ET.tostring(root)


# The models that the suite reads.

_OWNER = bean("DisplayName", "ID")
_TAPE = bean("AssignedToStorageDomain", "BarCode", "Id", "State", "StorageDomainMemberId", "Type")
PLACEMENT = Model(
    lists=tuple(
        (name, f"{name}s", _TAPE if name == "Tape" else bean("Id", "Name"))
        for name in ("AzureTarget", "Ds3Target", "Pool", "S3Target", "Tape")
    )
)
_BLOB = Model(
    ("Bucket", "Id", "InCache", "Latest", "Length", "Name", "Offset", "VersionId"), {"PhysicalPlacement": PLACEMENT}
)
CHUNK = Model(("ChunkId", "ChunkNumber", "NodeId"), lists=(("Object", None, _BLOB),))
BLOBS = Model(lists=(("Object", None, _BLOB),))
_NODE = Model(("EndPoint", "HttpPort", "HttpsPort", "Id"))
_JOB_ATTRIBUTES = (
    *("Aggregating", "BucketName", "CachedSizeInBytes", "ChunkClientProcessingOrderGuarantee", "CompletedSizeInBytes"),
    *("EntirelyInCache", "JobId", "Naked", "Name", "OriginalSizeInBytes", "Priority", "RequestType", "StartDate"),
    *("Status", "UserId", "UserName"),
)
MASTER = Model(_JOB_ATTRIBUTES, lists=(("Node", "Nodes", _NODE), ("Objects", None, CHUNK)))
JOBS = Model(lists=(("Job", None, Model(_JOB_ATTRIBUTES, lists=(("Node", "Nodes", _NODE),))),))
SERVICE = Model(elements={"Owner": _OWNER}, lists=(("Bucket", "Buckets", bean("CreationDate", "Name")),))
_LISTED = bean("ETag", "IsLatest", "Key", "LastModified", "Size", "StorageClass", "VersionId", Owner=_OWNER)
LISTING = Model(
    elements=dict.fromkeys(
        ("CreationDate", "Delimiter", "IsTruncated", "Marker", "MaxKeys", "Name", "NextMarker", "Prefix")
    ),
    lists=(("CommonPrefixes", None, bean("Prefix")), ("Contents", None, _LISTED), ("Version", None, _LISTED)),
)
_S3_OBJECT = ("BucketId", "CreationDate", "Id", "Latest", "Name", "Type")
S3_OBJECT = bean(*_S3_OBJECT)
S3_OBJECTS = Model(lists=(("S3Object", None, S3_OBJECT),))
_COUNTS = ("BlobsBeingPersisted", "BlobsDegraded", "BlobsInCache", "BlobsTotal")
DETAILED_OBJECTS = Model(lists=(("Object", None, bean(*_S3_OBJECT, *_COUNTS, "ETag", "Owner", "Size", Blobs=BLOBS)),))


def listed(name: str, item: Model) -> Model:
    """Return the model of a list of beans."""
    return Model(lists=((name, None, item),))
