"""Files that are written to while they are sent, and get their size and time back: noticed, and not archived."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ds3tool.errors import SourceError
from ds3tool.jobs.ends import OpenObject, SourceObject
from ds3tool.jobs.engine import EngineSettings
from ds3tool.jobs.integrity import ChecksumChoice
from ds3tool.jobs.steadiness import Steadiness, mark_of
from ds3tool.protocol.checksums import digest_of, to_base64
from ds3tool.protocol.model import ChecksumType
from ds3tool.sources.local import LocalSource
from ds3tool.transport.bodies import OutgoingBody
from tests.jobs.rooms import BUCKET, MIB, Room


class MeddledSource(LocalSource):
    """A local source whose file somebody does something to, once, when `when(blobs sent so far)` says so."""

    def __init__(self, path: Path, meddle: Callable[[], None], *, sent: int) -> None:
        super().__init__(str(path), prefix="")
        self.lock = threading.Lock()
        self.bodies = 0
        self.bytes_read = 0
        self._meddle = meddle
        self._when = sent

    def open(self, item: SourceObject) -> OpenObject:
        return MeddledObject(super().open(item), self)

    def body_asked(self) -> None:
        with self.lock:
            self.bodies += 1
            if self.bodies == self._when + 1:
                self._meddle()


class MeddledObject:
    """An open object that tells its source when a blob of it goes out."""

    def __init__(self, opened: OpenObject, source: MeddledSource) -> None:
        self._opened = opened
        self._source = source

    def body(self, offset: int, length: int, *, counter: Callable[[int], None]) -> OutgoingBody:
        self._source.body_asked()
        return self._opened.body(offset, length, counter=counter)

    def read(self, offset: int, length: int) -> bytes:
        with self._source.lock:
            self._source.bytes_read += length
        return self._opened.read(offset, length)

    def check_unchanged(self) -> None:
        self._opened.check_unchanged()

    def mark(self) -> int:
        return mark_of(self._opened)

    def metadata(self) -> Mapping[str, str]:
        return self._opened.metadata()

    def close(self) -> None:
        self._opened.close()


def write_unseen(path: Path, offset: int, data: bytes) -> None:
    """Write, and put the time back to what it was."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def one_at_a_time(room: Room) -> Room:
    """A room whose puts send one blob after the other."""
    room.settings = replace(room.settings, engine=EngineSettings(1, 1))
    return room


@pytest.mark.parametrize("choice", [ChecksumChoice.AUTO, ChecksumChoice.SHA256])
@pytest.mark.parametrize("sent", [1, 2])
def test_a_file_written_to_between_two_of_its_blobs_is_not_archived(
    one_at_a_time: Room, tmp_path: Path, sent: int, choice: ChecksumChoice
) -> None:
    """Blobs of two moments would make an object that never was a file: it fails by name, and nothing of it stays."""
    room = one_at_a_time
    room.settings = replace(room.settings, checksum=choice)
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 * MIB))

    def rewrite() -> None:
        for blob in range(3):  # one of them at least has been sent, and one not
            write_unseen(path, blob * MIB + 17, os.urandom(100))

    result = room.put(MeddledSource(tmp_path, rewrite, sent=sent))
    (failure,) = result.failures
    assert isinstance(failure.error, SourceError)
    assert "has changed while it was sent" in failure.error.message
    assert room.listed() == set()


def test_a_file_written_to_after_its_last_bytes_went_out_is_not_archived(one_at_a_time: Room, tmp_path: Path) -> None:
    """One blob, changed behind its digest, and back in time: the appliance has what was, and that is told."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(MIB))
    done = threading.Event()

    class Late(MeddledSource):
        def open(self, item: SourceObject) -> OpenObject:
            return LateObject(LocalSource.open(self, item), self)

    class LateObject(MeddledObject):
        def body(self, offset: int, length: int, *, counter: Callable[[int], None]) -> OutgoingBody:
            self.sent = True
            return super().body(offset, length, counter=counter)

        def check_unchanged(self) -> None:
            if getattr(self, "sent", False) and not done.is_set():
                done.set()
                write_unseen(path, 5, b"other")
            super().check_unchanged()

    result = one_at_a_time.put(Late(tmp_path, lambda: None, sent=99))
    (failure,) = result.failures
    assert "has changed while it was sent" in failure.error.message
    assert one_at_a_time.listed() == set()


@pytest.mark.parametrize("size", [MIB, 3 * MIB + 5])
def test_what_is_only_linked_or_given_other_rights_is_archived(one_at_a_time: Room, tmp_path: Path, size: int) -> None:
    """Its bytes are looked at again, are the same, and nobody hears of it."""
    path = tmp_path / "tree" / "file"
    path.parent.mkdir()
    path.write_bytes(os.urandom(size))

    def handle() -> None:
        path.chmod(0o600)
        os.link(path, tmp_path / "link")

    source = MeddledSource(path.parent, handle, sent=size // (2 * MIB))
    result = one_at_a_time.put(source)
    assert (result.objects, result.failures) == (1, [])
    assert one_at_a_time.client.head_object(BUCKET, "file").size == size
    assert source.bytes_read == 2 * size


@pytest.mark.parametrize("rewritten", [False, True])
def test_a_small_file_is_of_one_moment(room: Room, tmp_path: Path, *, rewritten: bool) -> None:
    """Given other rights while it is read, it goes as it is; written to, what is there afterwards goes, whole."""
    path = tmp_path / "file"
    path.write_bytes(b"0" * 1000)
    meddled = threading.Event()

    class Read(MeddledSource):
        def open(self, item: SourceObject) -> OpenObject:
            return ReadObject(LocalSource.open(self, item), self)

    class ReadObject(MeddledObject):
        def read(self, offset: int, length: int) -> bytes:
            data = super().read(offset, length)
            if not meddled.is_set():
                meddled.set()
                if rewritten:
                    write_unseen(path, 500, b"1" * 500)
                else:
                    path.chmod(0o600)
            return data

    assert room.put(Read(tmp_path, lambda: None, sent=99)).objects == 1
    digest = room.client.head_object(BUCKET, "file").checksums[0]
    assert digest == to_base64(digest_of(ChecksumType.MD5, path.read_bytes()))


def test_a_file_that_nobody_touches_is_digested_once(room: Room, tmp_path: Path) -> None:
    """What is looked at again is paid for by who meddles alone."""
    for name, size in (("small", 1000), ("one", MIB), ("several", 5 * MIB + 1)):
        (tmp_path / name).write_bytes(os.urandom(size))
    source = MeddledSource(tmp_path, lambda: None, sent=99)
    assert room.put(source).objects == 3
    assert source.bytes_read == 6 * MIB + 1001


def test_the_marks_of_all_blobs_count_and_only_the_last_blob_looks() -> None:
    """Blobs end in any order; a blob that is sent a second time counts once; what is forgotten is forgotten."""
    steadiness = Steadiness()
    assert steadiness.sent(1, 0, "a", marks=(5, 5), blobs=2) is None
    assert steadiness.sent(1, 0, "a", marks=(5, 6), blobs=2) is None
    assert steadiness.sent(2, 0, "x", marks=(9,), blobs=1) is None
    assert steadiness.sent(1, 10, "b", marks=(6,), blobs=2) == {0: "a", 10: "b"}
    steadiness.forget(1)
    assert steadiness.sent(1, 10, "b", marks=(6,), blobs=1) is None
    assert mark_of(object()) == 0
