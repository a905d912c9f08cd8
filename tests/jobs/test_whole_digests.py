"""The digest of a whole object that was asked for: of the very bytes that were sent, read once, stored beside them."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ds3tool.errors import SourceError
from ds3tool.jobs import stream_mover
from ds3tool.jobs.ends import OpenObject, SourceObject
from ds3tool.jobs.integrity import ChecksumChoice
from ds3tool.jobs.recorder import MemoryRecorder
from ds3tool.jobs.whole_digests import WholeDigests
from ds3tool.protocol.checksums import METADATA_NAMES, digest_of, to_base64
from ds3tool.protocol.model import ChecksumType
from ds3tool.sources.local import LocalSource
from ds3tool.sources.stream import StreamSource
from ds3tool.transport.bodies import OutgoingBody
from ds3tool.transport.pool import Transport
from tests.jobs.rooms import BUCKET, MIB, Room

WHOLE = [choice for choice in ChecksumChoice if choice.of_whole is not None]


def asked(room: Room, choice: ChecksumChoice) -> None:
    room.settings = replace(room.settings, checksum=choice)


def stored(room: Room, key: str) -> Mapping[str, str]:
    return room.client.head_object(BUCKET, key).metadata


class CountingSource(LocalSource):
    """A local source that counts, by key, the bytes that are read to be digested, and sent."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), prefix="")
        self.lock = threading.Lock()
        self.read: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()

    def open(self, item: SourceObject) -> OpenObject:
        return CountingObject(super().open(item), item.key, self)


class CountingObject:
    """An open object whose reader is counted."""

    def __init__(self, opened: OpenObject, key: str, source: CountingSource) -> None:
        self._opened = opened
        self._key = key
        self._source = source

    def body(self, offset: int, length: int, *, counter: Callable[[int], None]) -> OutgoingBody:
        with self._source.lock:
            self._source.sent[self._key] += length
        return self._opened.body(offset, length, counter=counter)

    def read(self, offset: int, length: int) -> bytes:
        with self._source.lock:
            self._source.read[self._key] += length
        return self._opened.read(offset, length)

    def check_unchanged(self) -> None:
        self._opened.check_unchanged()

    def metadata(self) -> Mapping[str, str]:
        return self._opened.metadata()

    def close(self) -> None:
        self._opened.close()


@pytest.mark.parametrize("choice", WHOLE)
@pytest.mark.parametrize("kind", [ChecksumType.CRC_32C, ChecksumType.MD5, ChecksumType.SHA_256])
def test_objects_of_every_size_have_the_digest_of_all_their_bytes(
    room_with: Callable[..., Room], tmp_path: Path, choice: ChecksumChoice, kind: ChecksumType
) -> None:
    """Small, empty, of several blobs, with a small blob at the end: what hashing tools say stands in the metadata.

    Only an object whose one blob has that very digest has none there. Blobs travel with the policy's own.
    """
    room = room_with(checksum_type=kind)
    asked(room, choice)
    sizes = {"empty": 0, "small": 1000, "one": MIB, "several": 3 * MIB, "tail": 2 * MIB + 5}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(os.urandom(size))
    result = room.put(tmp_path)
    assert (result.objects, result.failures, result.notes) == (len(sizes), [], [])
    assert choice.of_whole is not None
    for name, size in sizes.items():
        head = room.client.head_object(BUCKET, name)
        data = (tmp_path / name).read_bytes()
        told = digest_of(choice.of_whole, data).hex()
        follows = choice.of_whole == kind and size <= MIB
        assert head.metadata.get(METADATA_NAMES[choice.of_whole]) == (None if follows else told), name
        if size:
            assert (head.checksum_type, head.checksums[0]) == (kind, to_base64(digest_of(kind, data[:MIB])))
    assert None not in room.recorder.checksums.values()


def test_nothing_is_read_twice_to_be_digested(room: Room, tmp_path: Path) -> None:
    """The digest of the whole and those of its blobs come of one pass, also where many blobs are sent at once."""
    sizes = {"small": 1000, "one": MIB, "several": 7 * MIB + 300_000, "tail": 6 * MIB + 1}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(os.urandom(size))
    asked(room, ChecksumChoice.SHA256)
    source = CountingSource(tmp_path)
    assert room.put(source).objects == len(sizes)
    assert source.read == Counter(sizes)


def test_a_crc_of_another_type_than_the_policys_is_no_digest_to_keep(room: Room, tmp_path: Path) -> None:
    """Only digests that people keep lists of go into the metadata; where the policy has it, a CRC needs none."""
    assert {choice.value for choice in WHOLE} == {"md5", "sha256", "sha512"}
    (tmp_path / "file").write_bytes(b"data")
    assert room.put(tmp_path).objects == 1
    assert stored(room, "file") == {}


def test_a_source_that_changes_between_its_digest_and_its_bytes_is_not_archived(room: Room, tmp_path: Path) -> None:
    """Written to after it was read, with size and time put back: the appliance refuses it, and the error says why."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 * MIB))
    before = path.stat()

    class Late(CountingSource):
        def open(self, item: SourceObject) -> OpenObject:
            return LateObject(super().open(item), item.key, self)

    class LateObject(CountingObject):
        def body(self, offset: int, length: int, *, counter: Callable[[int], None]) -> OutgoingBody:
            with path.open("r+b") as file:
                file.seek(offset)
                file.write(bytes(64))
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            return super().body(offset, length, counter=counter)

    asked(room, ChecksumChoice.SHA256)
    result = room.put(Late(tmp_path))
    (failure,) = result.failures
    assert isinstance(failure.error, SourceError)
    assert "has changed" in failure.error.message
    assert room.listed() == set()


def test_a_run_that_is_stopped_does_not_read_a_large_file_to_its_end(room: Room, tmp_path: Path) -> None:
    """Whoever digests a file gives up when the run is interrupted, however much of it is left."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(200 * MIB)
    reading = threading.Event()

    class Interrupting(MemoryRecorder):
        def tick(self) -> None:
            if reading.is_set():
                raise KeyboardInterrupt

    class Slow(CountingSource):
        def open(self, item: SourceObject) -> OpenObject:
            return SlowObject(LocalSource.open(self, item), item.key, self)

    class SlowObject(CountingObject):
        def read(self, offset: int, length: int) -> bytes:
            if offset == 2 * MIB:
                transport = room.client.exchange
                assert isinstance(transport, Transport)
                stopped = transport.stop_token()
                reading.set()
                assert stopped.wait(60)
            return super().read(offset, length)

    asked(room, ChecksumChoice.SHA256)
    room.recorder = Interrupting()
    source = Slow(tmp_path)
    result = room.put(source)
    assert (result.exit_code, result.failures) == (130, [])
    assert 2 * MIB < source.read["large"] <= 3 * MIB


@pytest.mark.parametrize("size", [0, 1000, 3 * MIB])
def test_a_streams_digest_is_stored_where_its_only_blob_is_held_and_told_where_it_is_not(room: Room, size: int) -> None:
    """Of several blobs the first is gone before the digest is known: then a note says it, since nobody else can."""
    asked(room, ChecksumChoice.SHA256)
    data = os.urandom(size)
    source = StreamSource(io.BytesIO(data), key="stream", size=size)
    result = room.put(source)
    told = hashlib.sha256(data).hexdigest()
    in_metadata = stored(room, "stream").get("ds3tool-sha256")
    if size > MIB:
        assert in_metadata is None
        assert [note for note in result.notes if told in note]
    else:
        assert (in_metadata, result.notes) == (told, [])


def test_a_stream_that_is_not_held_has_its_digest_told(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """One blob that is sent as it comes has no metadata that could know it."""
    monkeypatch.setattr(stream_mover, "BUFFER_BYTES", MIB // 2)
    room.settings = replace(room.settings, blob_size=MIB)
    asked(room, ChecksumChoice.SHA512)
    data = os.urandom(MIB)
    result = room.put(StreamSource(io.BytesIO(data), key="stream", size=MIB))
    assert "ds3tool-sha512" not in stored(room, "stream")
    assert [note for note in result.notes if hashlib.sha512(data).hexdigest() in note]
    asked(room, ChecksumChoice.MD5)
    result = room.put(StreamSource(io.BytesIO(data), key="other", size=MIB))
    assert (stored(room, "other"), result.notes) == ({}, [])


@given(
    st.binary(max_size=200),
    st.lists(st.tuples(st.integers(0, 200), st.booleans()), max_size=6, unique_by=lambda cut: cut[0]),
)
def test_the_whole_is_read_also_where_a_job_names_some_of_its_blobs(data: bytes, cuts: list[tuple[int, bool]]) -> None:
    """What another run has sent already is part of the whole all the same, and is no blob of this one."""
    bounds = sorted({0, len(data), *(min(at, len(data)) for at, _ in cuts)})
    named = dict(cuts)
    blobs = [(start, end - start) for start, end in itertools.pairwise(bounds) if named.get(start, True)]
    found = WholeDigests(ChecksumType.SHA_256, ChecksumType.CRC_32).of(
        0, lambda offset, length: data[offset : offset + length], blobs, len(data)
    )
    assert found.metadata == {"ds3tool-sha256": hashlib.sha256(data).hexdigest()}
    assert found.blobs == {
        start: to_base64(digest_of(ChecksumType.CRC_32, data[start : start + length])) for start, length in blobs
    }
