"""An S3 in memory that does what boto3's client is asked to do here, and goes wrong where a test wants it to."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

MOMENT = datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)


def refusal(code: str, status: int, message: str = "no") -> Exception:
    """Return what boto3 raises when S3 refuses."""
    from botocore.exceptions import ClientError

    said: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error: Exception = ClientError(said, "x")
    return error


@dataclass(eq=False)
class Raw:
    """A reply's body. After `stops` bytes it ends: by an error where it `breaks`, once it is shut where it `waits`."""

    data: bytes
    stops: int | None = None
    breaks: bool = False
    waits: bool = False
    at: int = 0
    closed: bool = False
    waiting: threading.Event = field(default_factory=threading.Event)
    shut: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        return self

    def read(self, most: int) -> bytes:
        end = len(self.data) if self.stops is None else self.stops
        block = self.data[self.at : min(self.at + most, end)]
        self.at += len(block)
        if block or end == len(self.data):
            return block
        if self.waits:
            self.waiting.set()
            assert self.shut.wait(60), "nobody ends the reading"
        if self.breaks:
            from urllib3.exceptions import ProtocolError

            raise ProtocolError("Connection broken")
        return b""

    def shutdown(self) -> None:
        self.shut.set()

    def close(self) -> None:
        self.closed = True


@dataclass
class Stored:
    """An object: its bytes, and what replies say of it."""

    data: bytes
    said: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def reply(self) -> dict[str, Any]:
        etag = hashlib.md5(self.data, usedforsecurity=False).hexdigest()
        crc = base64.b64encode(zlib.crc32(self.data).to_bytes(4, "big")).decode()
        said = {"ETag": f'"{etag}"', "LastModified": MOMENT, "ChecksumCRC32": crc, "TagCount": len(self.tags)}
        return {**said, **self.said}


class S3Double:
    """Buckets are not told apart. `spoil` makes of the bytes of each GET what is sent; `deny` is raised by all calls.

    `before` is called with each request's name and what it asks; `asked` has them all.
    """

    def __init__(self, objects: Mapping[str, bytes | Stored] | None = None) -> None:
        self.meta = self.events = self
        self.objects: dict[str, Stored] = {
            key: one if isinstance(one, Stored) else Stored(one) for key, one in (objects or {}).items()
        }
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.before: Callable[[str, dict[str, Any]], None] = lambda name, asked: None
        self.spoil: Callable[[dict[str, Any], bytes], Raw] = lambda asked, data: Raw(data)
        self.change: Callable[[dict[str, Any]], dict[str, Any]] = lambda reply: reply
        self.raws: list[Raw] = []
        self._lock = threading.Lock()

    def register(self, *_: object, **__: object) -> None:
        """Take a handler of botocore's events, of which there are none here."""

    def names(self) -> list[str]:
        """Return which requests were made."""
        return [name for name, _ in self.asked]

    def _begin(self, name: str, asked: dict[str, Any]) -> Stored:
        with self._lock:
            self.asked.append((name, asked))
        self.before(name, asked)
        one = self.objects.get(asked["Key"])
        if one is None:
            raise refusal("404" if name == "head_object" else "NoSuchKey", 404)
        if asked.get("IfMatch", one.reply()["ETag"]) != one.reply()["ETag"]:
            raise refusal("PreconditionFailed", 412)
        return one

    def list_objects_v2(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401
        self.asked.append(("list_objects_v2", asked))
        self.before("list_objects_v2", asked)
        found = []
        for key, one in sorted(self.objects.items()):
            if key.startswith(asked["Prefix"]):
                said = one.reply()
                listed: dict[str, Any] = {
                    name: said[name] for name in ("ETag", "LastModified", "StorageClass") if name in said
                }
                found.append({"Key": key, "Size": len(one.data), **listed})
        return {"Contents": found, "IsTruncated": False}

    def head_object(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401
        one = self._begin("head_object", asked)
        return self.change({**one.reply(), "ContentLength": len(one.data)})

    def get_object(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401
        one = self._begin("get_object", asked)
        reply: dict[str, Any] = {**one.reply(), "ResponseMetadata": {"HTTPStatusCode": 200}}
        data = one.data
        if "Range" in asked:
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", asked["Range"])
            assert match is not None, asked
            start, end = int(match[1]), int(match[2])
            data = data[start : end + 1]
            reply.pop("ChecksumCRC32", None)
            reply["ContentRange"] = f"bytes {start}-{end}/{len(one.data)}"
            reply["ResponseMetadata"] = {"HTTPStatusCode": 206}
        raw = self.spoil(asked, data)
        with self._lock:
            self.raws.append(raw)
        return self.change({**reply, "ContentLength": len(data), "Body": raw})

    def get_object_tagging(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401
        one = self._begin("get_object_tagging", asked)
        return {"TagSet": [{"Key": key, "Value": value} for key, value in one.tags.items()]}
