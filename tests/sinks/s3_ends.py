"""A sink in S3 for tests: blobs are handed to it as the appliance's replies, right or damaged, whole or broken off."""

from __future__ import annotations

import functools
import hashlib
import random
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ds3tool.errors import ChecksumError, Ds3Error, ProtocolError, TransportError
from ds3tool.jobs.ends import TargetObject
from ds3tool.protocol.checksums import ExpectedChecksum, to_base64
from ds3tool.protocol.model import ChecksumType
from ds3tool.protocol.ranges import ByteRange
from ds3tool.sinks.s3 import S3Sink
from tests.far.servers import FarSide
from tests.sinks.replies import arrival, reply

SMALL = 200_000


@functools.lru_cache(maxsize=8)
def data_of(size: int, seed: int = 0) -> bytes:
    """Return bytes that are alike nowhere."""
    return random.Random(f"{size} {seed}").randbytes(size)


def cut(size: int, blob_bytes: int) -> list[ByteRange]:
    """Return the blobs of an object, but for the last of one size."""
    return [ByteRange(at, min(size, at + blob_bytes)) for at in range(0, size, blob_bytes)]


def expected(data: bytes) -> ExpectedChecksum:
    """Return what the appliance states of a blob."""
    return ExpectedChecksum(ChecksumType.MD5, to_base64(hashlib.md5(data).digest()))


def give(sink: S3Sink, item: TargetObject, data: bytes, blob: ByteRange) -> None:
    """Hand a blob to the sink, the small way or the large one."""
    part = data[blob.start : blob.end]
    if len(part) <= SMALL:
        sink.receive_small(item, blob.start, memoryview(part))
        return
    with reply(part) as response:
        sink.receive(item, arrival(item, blob.start, len(part), expected(part)), response, counter=lambda _: None)


def give_damaged(sink: S3Sink, item: TargetObject, data: bytes, blob: ByteRange) -> None:
    """Hand a blob to the sink of which a byte in the middle was damaged, then once more as it should be."""
    part = data[blob.start : blob.end]
    damaged = bytearray(part)
    damaged[len(part) // 2] ^= 1
    arriving = arrival(item, blob.start, len(part), expected(part))
    try:
        with reply(bytes(damaged)) as response:
            sink.receive(item, arriving, response, counter=lambda _: None)
    except ChecksumError:
        give(sink, item, data, blob)
        return
    raise AssertionError("damage was not noticed")


def give_broken(sink: S3Sink, item: TargetObject, data: bytes, blob: ByteRange, *, at: Sequence[int]) -> None:
    """Hand a blob to the sink whose body breaks off at some places, and is gone on with there."""
    part = data[blob.start : blob.end]
    arriving = arrival(item, blob.start, len(part), expected(part))
    for end in [*at, len(part)]:
        done = arriving.done
        try:
            with reply(part[done:end], states=len(part) - done) as response:
                sink.receive(item, arriving, response, counter=lambda _: None)
        except (ProtocolError, TransportError):
            assert end < len(part)
            assert arriving.done == end


def give_all(sink: S3Sink, item: TargetObject, data: bytes, blobs: Iterable[ByteRange], *, threads: int = 1) -> None:
    """Hand blobs to the sink in their order, by so many threads; raise what any of them meets."""
    waiting = list(reversed(list(blobs)))
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while waiting and not errors:
                try:
                    blob = waiting.pop()
                except IndexError:
                    return
                give(sink, item, data, blob)
        except BaseException as error:  # noqa: BLE001  # raised below
            errors.append(error)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]


def store(sink: S3Sink, name: str, data: bytes, *, blob_bytes: int = 1 << 20, replace: bool = False) -> None:
    """Bring an object into the sink, and see it appear."""
    item = TargetObject(f"key of {name}", len(data), name, replace=replace)
    for blob in cut(len(data), blob_bytes):
        give(sink, item, data, blob)
    sink.finish(item)
    assert sink.settle(wait=True) == [(item, None)]


def failure_of(sink: S3Sink, item: TargetObject) -> Ds3Error:
    """Finish an object that cannot appear; return why."""
    sink.finish(item)
    ((settled, error),) = sink.settle(wait=True)
    assert settled == item
    assert error is not None
    return error


@dataclass
class Meddling:
    """A client of S3 between whose caller and the service something happens to bytes, or to answers.

    `damages` so many bodies are damaged on the way; `calls` are all that were made, by name.
    """

    far: FarSide
    damages: int = 0
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._client = self.far.client()
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever boto3 has
        call = getattr(self._client, name)

        def meddled(**named: Any) -> Any:  # noqa: ANN401
            self.calls.append(name)
            if "Body" in named:
                with self._lock:
                    damages, self.damages = self.damages > 0, self.damages - 1
                body = bytearray(named["Body"].read())
                body[len(body) // 2] ^= damages
                named["Body"] = bytes(body)
                if damages:
                    # Whoever damages bytes on the way has no hand in headers; boto3 would refuse its own.
                    named = {key: value for key, value in named.items() if key != "ChecksumCRC32"}
            return call(**named)

        return meddled
