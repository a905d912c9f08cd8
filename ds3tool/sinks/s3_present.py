"""What is in a bucket of S3 already: sizes, digests and bytes of objects by their keys."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from ds3tool.aws.failures import far_side
from ds3tool.errors import FarSideForbiddenError, SinkError
from ds3tool.jobs.known_digests import KnownDigests
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.checksums import to_base64
from ds3tool.protocol.model import ChecksumType
from ds3tool.sinks.s3_requests import S3Requests, is_etag_md5

# What S3 calls digests of the whole object, where it has any.
_CHECKSUMS = {
    ChecksumType.CRC_32: "ChecksumCRC32",
    ChecksumType.CRC_32C: "ChecksumCRC32C",
    ChecksumType.SHA_256: "ChecksumSHA256",
}


@dataclass(frozen=True, slots=True)
class _Window:
    """What a listing tells: sizes of all keys of one folder from `start` to `end`, None for its end."""

    folder: str
    start: str
    end: str | None
    sizes: dict[str, int] = field(default_factory=dict)

    def covers(self, key: str) -> bool:
        """Whether it tells of a key. Keys are listed in the order of their bytes."""
        if _folder_of(key) != self.folder or key.encode() < self.start.encode():
            return False
        return self.end is None or key.encode() <= self.end.encode()


@dataclass(slots=True)
class _Reading:
    """An object that is read from the front to the back."""

    key: str
    at: int
    body: Any


class Present:
    """Looks at a bucket; safe for several threads.

    Sizes are asked for in the order of the keys as a rule, so that one listing of up to 1,000 of them spares as many
    requests; where none may be listed, each is asked for alone.
    """

    def __init__(self, requests: S3Requests) -> None:
        self._requests = requests
        self._lock = threading.Lock()
        self._window: _Window | None = None
        self._may_list = True
        self._readings: dict[int, _Reading] = {}

    def size(self, key: str) -> int | None:
        """Return the size of the object that has a key, None when nothing has."""
        with self._lock:
            if self._window is None or not self._window.covers(key):
                head = self._requests.head(key)
                self._window = self._listed(key)
                if head is not None:
                    self._window.sizes[key] = head["ContentLength"]
            return self._window.sizes.get(key)

    def is_there(self, key: str) -> bool:
        """Whether something has a key, at this moment."""
        return self._requests.head(key) is not None

    def _listed(self, key: str) -> _Window:
        """Return what a listing tells of the keys after this one."""
        folder = _folder_of(key)
        if not self._may_list:
            return _Window(folder, key, key)
        try:
            with far_side(f"s3://{self._requests.bucket}/{folder}"):
                page = self._requests.client.list_objects_v2(
                    Bucket=self._requests.bucket, Prefix=folder, Delimiter="/", StartAfter=key
                )
        except FarSideForbiddenError:
            self._may_list = False
            return _Window(folder, key, key)
        sizes = {one["Key"]: int(one["Size"]) for one in page.get("Contents", ())}
        last: str | None = None
        if page.get("IsTruncated"):
            names = [*sizes, *(one["Prefix"] for one in page.get("CommonPrefixes", ()))]
            last = max(names, key=str.encode, default=key)
        return _Window(folder, key, last, sizes)

    def digests(self, key: str) -> KnownDigests | None:
        """Return the digests that S3 states of a whole object, None when nothing has the key."""
        head = self._requests.head(key)
        if head is None:
            return None
        return KnownDigests(head["ContentLength"], stated=_stated(head))

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Return exactly these bytes of an object. Who reads on where it ended is spared a request."""
        me = threading.get_ident()
        with self._lock:
            reading = self._readings.pop(me, None)
        try:
            with far_side(f"s3://{self._requests.bucket}/{key}"):
                if reading is None or (reading.key, reading.at) != (key, offset):
                    _close(reading)
                    reading = self._open(key, offset)
                data = _exactly(reading, length)
        except BaseException:
            _close(reading)
            raise
        if len(data) < length:
            _close(reading)
            raise SinkError(f"s3://{self._requests.bucket}/{key} has less than {offset + length} bytes")
        with self._lock:
            self._readings[me] = reading
        return data

    def _open(self, key: str, offset: int) -> _Reading:
        found = self._requests.client.get_object(Bucket=self._requests.bucket, Key=key, Range=f"bytes={offset}-")
        return _Reading(key, offset, found["Body"])

    def close(self) -> None:
        """Close what is being read."""
        with self._lock:
            readings, self._readings = self._readings, {}
        for reading in readings.values():
            _close(reading)


def _stated(head: Mapping[str, Any]) -> dict[ChecksumType, str]:
    found = {}
    if is_etag_md5(head):
        found[ChecksumType.MD5] = to_base64(bytes.fromhex(str(head["ETag"]).strip('"')))
    if head.get("ChecksumType") != "COMPOSITE":
        for kind, name in _CHECKSUMS.items():
            value = str(head.get(name, ""))
            if value and "-" not in value:
                found[kind] = value
    return found


def _exactly(reading: _Reading, length: int) -> bytes:
    """Return so many bytes of what is being read; fewer only at its end."""
    pieces = []
    while length and (piece := reading.body.read(length)):
        pieces.append(piece)
        length -= len(piece)
        reading.at += len(piece)
    return b"".join(pieces)


def _folder_of(key: str) -> str:
    """Return what a key begins with up to its last slash, that one included."""
    return key[: key.rfind("/") + 1]


def _close(reading: _Reading | None) -> None:
    if reading is not None:
        with contextlib.suppress(Exception):  # it is of no use any more
            reading.body.close()
