"""What the tests of sources share: a wire that keeps what it is sent, and short ways to what a source lists."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ds3tool.jobs.ends import Source, SourceObject


class RecordingWire:
    """Takes what a body sends."""

    def __init__(self) -> None:
        self.data = bytearray()

    def send(self, data: bytes | memoryview) -> None:
        self.data += data

    def send_file(self, descriptor: int, offset: int, length: int) -> int:
        data = os.pread(descriptor, min(length, 7), offset)
        self.data += data
        return len(data)


def ignore(count: int) -> None:
    """Count nothing."""


def keys(found: Source) -> list[str]:
    return [item.key for item in found.objects()]


def only(found: Source) -> SourceObject:
    (item,) = found.objects()
    return item


def contents(found: Source) -> dict[str, bytes]:
    """Return what a put of the source would send, by key: each object opened, read, and looked at again."""
    return {key: data for key, (data, _) in stored(found).items()}


def stored(found: Source) -> dict[str, tuple[bytes, Mapping[str, str]]]:
    """Return what a put of the source would store, by key: bytes and metadata."""
    result: dict[str, tuple[bytes, Mapping[str, str]]] = {}
    for item in found.objects():
        opened = found.open(item)
        try:
            wire = RecordingWire()
            counted: list[int] = []
            opened.body(0, item.size, counter=counted.append).send_to(wire)
            assert sum(counted) == item.size
            assert opened.read(0, item.size) == wire.data
            opened.check_unchanged()
            assert item.key not in result
            result[item.key] = (bytes(wire.data), opened.metadata())
        finally:
            opened.close()
    return result
