"""A local folder receives objects whole or not at all, never over a file and never outside of itself."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds3tool.errors import ChecksumError, Ds3Error, ProtocolError, SinkError
from ds3tool.jobs.ends import TargetObject
from ds3tool.protocol.checksums import ExpectedChecksum, digest_of, to_base64
from ds3tool.protocol.model import ChecksumType
from ds3tool.sinks import durability, folders, publishing
from ds3tool.sinks.durability import rename_if_free
from ds3tool.sinks.leftovers import part_name
from ds3tool.sinks.local import LocalSink
from tests.sinks.replies import arrival, reply


def ignore(count: int) -> None:
    """Count nothing."""


def digest(data: bytes, kind: ChecksumType = ChecksumType.MD5) -> ExpectedChecksum:
    return ExpectedChecksum(kind, to_base64(digest_of(kind, data)))


def receive(
    sink: LocalSink, item: TargetObject, offset: int, data: bytes, checksum: ExpectedChecksum | None = None
) -> str | None:
    with reply(data) as response:
        return sink.receive(item, arrival(item, offset, len(data), checksum), response, counter=ignore)


def store(sink: LocalSink, name: str, data: bytes) -> TargetObject:
    """Store and finish an object of one blob."""
    item = TargetObject(f"key of {name}", len(data), name)
    if data:
        sink.receive_small(item, 0, memoryview(data))
    sink.finish(item)
    return item


def outcome(sink: LocalSink) -> dict[str, Ds3Error | None]:
    return {item.name: error for item, error in sink.settle(wait=True)}


def names(root: Path) -> set[str]:
    """Return every path below `root` that is not hidden."""
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if not any(p.startswith(".ds3tool-") for p in path.parts)
    }


def leftovers(root: Path) -> list[Path]:
    return list(root.rglob(".ds3tool-*"))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "restored"


@pytest.fixture
def sink(root: Path) -> Iterator[LocalSink]:
    sink = LocalSink(str(root))
    yield sink
    sink.close()


# -- whole or nothing -------------------------------------------------------------------------------------------------


def test_object_appears_only_when_it_is_finished(root: Path, sink: LocalSink) -> None:
    """Until `finish`, an object's bytes stand under a hidden name; then the name appears and the hidden one goes."""
    item = TargetObject("k", 6, "a/b.bin")
    receive(sink, item, 0, b"abc")
    receive(sink, item, 3, b"def")
    assert names(root) == {"a"}
    assert len(leftovers(root)) == 1
    sink.finish(item)
    assert outcome(sink) == {"a/b.bin": None}
    assert (root / "a/b.bin").read_bytes() == b"abcdef"
    assert leftovers(root) == []


def test_settle_tells_each_object_once(sink: LocalSink) -> None:
    """`settle` returns what has appeared since the last call, and never again."""
    store(sink, "a", b"1")
    assert outcome(sink) == {"a": None}
    assert outcome(sink) == {}


@pytest.mark.parametrize("seed", range(5))
def test_blobs_of_one_file_in_any_order_from_several_threads(root: Path, sink: LocalSink, seed: int) -> None:
    """Blobs of one object written at once, in any order, some of them twice, make the object's bytes."""
    chance = random.Random(seed)
    data = chance.randbytes(200_000)
    cuts = sorted({0, len(data), *(chance.randrange(len(data)) for _ in range(40))})
    blobs = list(itertools.pairwise(cuts))
    blobs += chance.sample(blobs, 10)
    chance.shuffle(blobs)
    item = TargetObject("k", len(data), "folder/file")
    lock = threading.Lock()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while True:
                with lock:
                    if not blobs:
                        return
                    start, end = blobs.pop()
                piece = data[start:end]
                if start % 2:
                    sink.receive_small(item, start, memoryview(piece))
                else:
                    receive(sink, item, start, piece, digest(piece))
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    sink.finish(item)
    assert outcome(sink) == {"folder/file": None}
    assert (root / "folder/file").read_bytes() == data


@pytest.mark.parametrize("kind", list(ChecksumType))
def test_digest_of_each_kind_is_computed_and_returned(sink: LocalSink, kind: ChecksumType) -> None:
    """A blob that has its digest is stored, and the digest returned is that of the bytes."""
    item = TargetObject("k", 5, "file")
    assert receive(sink, item, 0, b"bytes", digest(b"bytes", kind)) == digest(b"bytes", kind).value


def test_blob_without_digest_is_stored_and_nothing_is_claimed(root: Path, sink: LocalSink) -> None:
    """Without a digest to hold it against, a blob is stored and None is returned."""
    item = TargetObject("k", 5, "file")
    assert receive(sink, item, 0, b"bytes") is None
    sink.finish(item)
    assert outcome(sink) == {"file": None}
    assert (root / "file").read_bytes() == b"bytes"


def test_chunked_body_is_stored_too(root: Path, sink: LocalSink) -> None:
    """A body whose length only its end tells is stored when it has the blob's length."""
    item = TargetObject("k", 5, "file")
    with reply(b"bytes", chunked=True) as response:
        sink.receive(item, arrival(item, 0, 5), response, counter=ignore)
    sink.finish(item)
    outcome(sink)
    assert (root / "file").read_bytes() == b"bytes"


def test_damaged_blob_is_refused_by_name_and_nothing_appears(root: Path, sink: LocalSink) -> None:
    """A blob with another digest raises ChecksumError naming key, offset and both digests; no name appears."""
    item = TargetObject("the key", 10, "file")
    receive(sink, item, 0, b"first", digest(b"first"))
    with pytest.raises(ChecksumError, match="the key") as caught:
        receive(sink, item, 5, b"wrong", digest(b"right"))
    assert (caught.value.key, caught.value.offset) == ("the key", 5)
    assert (caught.value.expected, caught.value.actual) == (digest(b"right").value, digest(b"wrong").value)
    sink.abandon(item)
    assert outcome(sink) == {}
    assert names(root) == set()
    assert leftovers(root) == []


@pytest.mark.parametrize(("body", "length"), [(b"abc", 4), (b"abcde", 4)])
@pytest.mark.parametrize("chunked", [False, True])
def test_body_of_another_length_is_refused(sink: LocalSink, body: bytes, length: int, chunked: bool) -> None:
    """A body shorter or longer than its blob is a ProtocolError, with a stated length and without."""
    item = TargetObject("k", 4, "file")
    with reply(body, chunked=chunked) as response, pytest.raises(ProtocolError, match="k: "):
        sink.receive(item, arrival(item, 0, length), response, counter=ignore)


def test_longer_body_does_not_touch_the_next_blob(root: Path, sink: LocalSink) -> None:
    """Bytes beyond a blob's length are not written over what follows it."""
    item = TargetObject("k", 8, "file")
    receive(sink, item, 4, b"BBBB")
    with reply(b"aaaaXXXX", chunked=True) as response, pytest.raises(ProtocolError):
        sink.receive(item, arrival(item, 0, 4), response, counter=ignore)
    receive(sink, item, 0, b"aaaa")
    sink.finish(item)
    outcome(sink)
    assert (root / "file").read_bytes() == b"aaaaBBBB"


def test_longer_body_that_says_so_does_not_touch_the_next_blob(root: Path, sink: LocalSink) -> None:
    """The same where the answer's head says that it is too long, with a digest and without one."""
    item = TargetObject("k", 8, "file")
    receive(sink, item, 4, b"BBBB")
    for checksum in (None, digest(b"aaaa")):
        with reply(b"aaaaXXXX") as response, pytest.raises(ProtocolError):
            sink.receive(item, arrival(item, 0, 4, checksum), response, counter=ignore)
    receive(sink, item, 0, b"aaaa")
    sink.finish(item)
    outcome(sink)
    assert (root / "file").read_bytes() == b"aaaaBBBB"


def test_room_is_made_before_the_first_byte_comes(root: Path, sink: LocalSink) -> None:
    """What was prepared has its whole room and no name yet, and takes its bytes as any other."""
    item = TargetObject("k", 1_000_000, "below/file")
    sink.prepare(item)
    (part,) = leftovers(root)
    assert part.stat().st_size == 1_000_000
    assert part.stat().st_blocks * 512 >= 1_000_000
    assert names(root) == {"below"}
    data = bytes(range(250)) * 4000
    receive(sink, item, 0, data)
    sink.finish(item)
    assert outcome(sink) == {"below/file": None}
    assert (root / "below" / "file").read_bytes() == data


def test_what_cannot_be_prepared_is_told_when_bytes_come(root: Path, sink: LocalSink) -> None:
    """A name that cannot be written is nothing that the preparing tells: only who brings bytes can be told."""
    item = TargetObject("k", 4, "folder/")
    sink.prepare(item)
    with pytest.raises(SinkError, match="only a folder can have"):
        receive(sink, item, 0, b"aaaa")


def test_file_whose_mode_is_to_be_kept_is_not_prepared(root: Path) -> None:
    """It may be a secret, which comes with its bytes: nothing that others may open is made before."""
    sink = LocalSink(str(root), preserve=True)
    try:
        sink.prepare(TargetObject("k", 4, "file"))
        assert leftovers(root) == []
    finally:
        sink.close()


def test_empty_file_and_folder_appear(root: Path, sink: LocalSink) -> None:
    """An object without bytes becomes an empty file, a folder object a folder, also below others."""
    store(sink, "deep/empty", b"")
    store(sink, "deep/folder/", b"")
    assert outcome(sink) == {"deep/empty": None, "deep/folder/": None}
    assert (root / "deep/empty").read_bytes() == b""
    assert (root / "deep/folder").is_dir()


def test_folder_that_is_there_already_is_no_failure(root: Path, sink: LocalSink) -> None:
    """A folder object whose folder was made for a file before is simply there."""
    store(sink, "a/file", b"1")
    store(sink, "a/", b"")
    assert outcome(sink) == {"a/file": None, "a/": None}


def test_folder_name_with_bytes_fails_by_name(root: Path, sink: LocalSink) -> None:
    """An object whose name ends in a slash and that has bytes is not taken for a folder: its bytes would be lost."""
    item = TargetObject("k", 5, "a/")
    with pytest.raises(SinkError, match="a/ has 5 bytes"):
        sink.receive_small(item, 0, memoryview(b"bytes"))
    sink.finish(item)
    assert isinstance(outcome(sink)["a/"], SinkError)
    assert names(root) == set()


def test_two_objects_of_one_name_are_not_mixed(root: Path, sink: LocalSink) -> None:
    """While one object is being written, another of the same name fails by name and leaves the first as it is."""
    first, second = TargetObject("first", 4, "file"), TargetObject("second", 4, "file")
    sink.receive_small(first, 0, memoryview(b"12"))
    with pytest.raises(SinkError, match="second cannot be written: first is being written"):
        sink.receive_small(second, 2, memoryview(b"xx"))
    sink.abandon(second)
    sink.receive_small(first, 2, memoryview(b"34"))
    sink.finish(first)
    assert outcome(sink) == {"file": None}
    assert (root / "file").read_bytes() == b"1234"


def test_folder_moved_away_while_written_into_fails_by_name(tmp_path: Path, root: Path, sink: LocalSink) -> None:
    """An object whose folder was moved during the get is not told as there: it would stand somewhere else."""
    item = TargetObject("k", 4, "folder/file")
    sink.receive_small(item, 0, memoryview(b"data"))
    (root / "folder").rename(tmp_path / "away")
    (root / "folder").mkdir()
    sink.finish(item)
    error = outcome(sink)["folder/file"]
    assert isinstance(error, SinkError)
    assert "folder has been moved away or replaced" in error.message
    assert list((tmp_path / "away").iterdir()) == []
    assert list((root / "folder").iterdir()) == []


def test_file_that_has_the_name_of_a_temporary_one_is_left(root: Path, sink: LocalSink) -> None:
    """Somebody's file where a temporary one would stand is not touched; the object takes another name meanwhile."""
    root.mkdir(exist_ok=True)
    item = TargetObject("key of file", 4, "file")
    theirs = root / part_name(sink._parts.token, item)
    theirs.mkdir()
    (theirs / "more").write_bytes(b"theirs")
    store(sink, "file", b"ours")
    assert outcome(sink) == {"file": None}
    assert (theirs / "more").read_bytes() == b"theirs"
    assert (root / "file").read_bytes() == b"ours"


def test_killed_process_leaves_no_name(root: Path) -> None:
    """After kill -9 with one object half stored, only hidden names and what had settled are there."""
    script = """
        import sys
        from ds3tool.jobs.ends import TargetObject
        from ds3tool.sinks.local import LocalSink

        sink = LocalSink(sys.argv[1])
        done = TargetObject("k", 4, "folder/done")
        sink.receive_small(done, 0, memoryview(b"done"))
        sink.finish(done)
        assert sink.settle(wait=True) == [(done, None)]
        half = TargetObject("k", 8, "folder/half")
        sink.receive_small(half, 0, memoryview(b"half"))
        print("ready", flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    assert names(root) == {"folder", "folder/done"}
    assert (root / "folder/done").read_bytes() == b"done"
    assert all(path.name.startswith(".ds3tool-") and path.name.endswith(".part") for path in leftovers(root))


def test_close_finishes_what_is_whole_and_drops_the_rest(root: Path) -> None:
    """`close` lets finished objects appear, removes the others' files, and may be called again."""
    sink = LocalSink(str(root))
    store(sink, "whole", b"1")
    sink.receive_small(TargetObject("k", 8, "half"), 0, memoryview(b"half"))
    sink.close()
    sink.close()
    assert names(root) == {"whole"}
    assert leftovers(root) == []


def test_close_gives_every_descriptor_and_thread_back(root: Path) -> None:
    """After `close`, there are no more descriptors than before, and no thread that was not."""
    before, threads = descriptors(), set(threading.enumerate())
    sink = LocalSink(str(root))
    for number in range(10):
        store(sink, f"{number}/file", b"1")
    sink.receive_small(TargetObject("k", 8, "half"), 0, memoryview(b"half"))
    sink.close()
    assert descriptors() <= before
    assert set(threading.enumerate()) <= threads


def test_finish_after_close_fails_instead_of_waiting_for_ever(root: Path) -> None:
    """An object finished when the sink is closed is told as failed."""
    sink = LocalSink(str(root))
    sink.close()
    item = store(sink, "late", b"")
    assert [(one, type(error)) for one, error in sink.settle(wait=True)] == [(item, SinkError)]


def test_abandoned_object_can_be_stored_anew(root: Path, sink: LocalSink) -> None:
    """After `abandon`, the object's blobs start from nothing, and bytes of the first try are not among them."""
    item = TargetObject("k", 8, "file")
    sink.receive_small(item, 0, memoryview(b"xxxxyyyy"))
    sink.abandon(item)
    assert leftovers(root) == []
    sink.receive_small(item, 0, memoryview(b"abcd"))
    sink.receive_small(item, 4, memoryview(b"efgh"))
    sink.finish(item)
    assert outcome(sink) == {"file": None}
    assert (root / "file").read_bytes() == b"abcdefgh"


def test_abandoning_what_never_began_is_no_failure(sink: LocalSink) -> None:
    """`abandon` of an object of which nothing came does nothing."""
    sink.abandon(TargetObject("k", 8, "file"))
    assert outcome(sink) == {}


# -- never over a file ------------------------------------------------------------------------------------------------


def test_file_that_came_meanwhile_is_left_as_it_is(root: Path, sink: LocalSink) -> None:
    """A file that somebody writes under the name during the get stays, and the object fails by name."""
    item = TargetObject("k", 4, "file")
    sink.receive_small(item, 0, memoryview(b"ours"))
    (root / "file").write_bytes(b"theirs")
    sink.finish(item)
    error = outcome(sink)["file"]
    assert isinstance(error, SinkError)
    assert "file is there already" in error.message
    assert (root / "file").read_bytes() == b"theirs"
    assert leftovers(root) == []


@pytest.mark.parametrize("way", ["rename_if_free", "links", "rename_over_own"])
def test_names_are_given_once_whatever_the_file_system_can_do(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the one step that Linux has, with links, or with neither: a free name is given and a taken one is not."""
    give = rename_if_free
    if way != "rename_if_free":
        monkeypatch.setattr(durability, "rename_if_free", lambda *_: False)
        give = durability.give_name if way == "links" else durability.rename_over_own  # type: ignore[assignment]
    (tmp_path / "temporary").write_bytes(b"ours")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        give("temporary", "free", folder)
        assert (tmp_path / "free").read_bytes() == b"ours"
        assert not (tmp_path / "temporary").exists()
        (tmp_path / "temporary").write_bytes(b"ours")
        (tmp_path / "taken").write_bytes(b"theirs")
        with pytest.raises(FileExistsError):
            give("temporary", "taken", folder)
        assert (tmp_path / "taken").read_bytes() == b"theirs"
        assert (tmp_path / "temporary").read_bytes() == b"ours"
    finally:
        os.close(folder)


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.ENOSYS, errno.EINVAL])
def test_a_kernel_that_refuses_the_one_step_leaves_it_to_links(
    tmp_path: Path, refusal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where renameat2 is not let through (seccomp says EPERM, old kernels ENOSYS), a file gets its name."""

    def refused(*_: object) -> int:
        ctypes.set_errno(refusal)
        return -1

    monkeypatch.setattr(durability, "_renameat2", lambda: refused)
    (tmp_path / "temporary").write_bytes(b"ours")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        durability.give_name("temporary", "free", folder)
    finally:
        os.close(folder)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"free": b"ours"}


def test_name_taken_for_a_rename_that_fails_is_given_back(tmp_path: Path) -> None:
    """When the temporary file is gone, the name that was taken for it does not stay as an empty file."""
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileNotFoundError):
            durability.rename_over_own("gone", "name", folder)
    finally:
        os.close(folder)
    assert not (tmp_path / "name").exists()


def test_file_and_folder_of_one_name(root: Path, sink: LocalSink) -> None:
    """Of the keys `a` and `a/b`, the first that comes is stored and the other fails by name."""
    store(sink, "a", b"1")
    assert outcome(sink) == {"a": None}
    with pytest.raises(SinkError, match="a should be a folder"):
        sink.receive_small(TargetObject("k", 1, "a/b"), 0, memoryview(b"2"))
    store(sink, "x/y", b"3")
    store(sink, "x", b"4")
    result = outcome(sink)
    assert result["x/y"] is None
    assert isinstance(result["x"], SinkError)
    assert (root / "a").read_bytes() == b"1"
    assert (root / "x/y").read_bytes() == b"3"


def test_folder_object_where_a_file_stands(root: Path, sink: LocalSink) -> None:
    """A folder object whose name a file has fails by name and leaves the file."""
    store(sink, "a", b"1")
    outcome(sink)
    store(sink, "a/", b"")
    assert isinstance(outcome(sink)["a/"], SinkError)
    assert (root / "a").read_bytes() == b"1"


# -- what is there ----------------------------------------------------------------------------------------------------


def test_existing_size(root: Path, sink: LocalSink) -> None:
    """Files have their size, folders 0, missing names None; a file in a folder's place is refused."""
    (root / "folder").mkdir()
    (root / "folder/file").write_bytes(b"12345")
    (root / "link").symlink_to("folder/file")
    assert sink.existing_size("folder/file") == 5
    assert sink.existing_size("folder/") == 0
    assert sink.existing_size("folder/none") is None
    assert sink.existing_size("none/at/all") is None
    for name in ("folder", "folder/file/", "folder/file/below", "link/below"):
        with pytest.raises(SinkError):
            sink.existing_size(name)
    assert sink.read_existing("folder/file", 1, 3) == b"234"


def test_asking_for_what_is_there_makes_no_folder(root: Path, sink: LocalSink) -> None:
    """`existing_size` of a name below folders that are not there makes none of them."""
    sink.existing_size("a/b/c")
    assert names(root) == set()


def test_a_folder_is_empty_only_where_that_is_certain(root: Path, sink: LocalSink) -> None:
    """What is not there is empty; with one name in it, hidden or unfinished, or with a link in the way, none is."""
    assert all(sink.is_empty(folder) for folder in ("", "a", "a/b"))
    (root / "a").mkdir()
    (root / "full").mkdir()
    (root / "full/.hidden").symlink_to("nowhere")
    (root / "file").write_bytes(b"")
    (root / "link").symlink_to("a")
    assert [folder for folder in ("a", "a/b", "full/b", "") if sink.is_empty(folder)] == ["a", "a/b", "full/b"]
    assert not any(sink.is_empty(folder) for folder in ("full", "file", "file/below", "link", "link/below"))
    item = TargetObject("k", 2, "a/unfinished")
    receive(sink, item, 0, b"1")
    assert not sink.is_empty("a")
    assert "a/b" not in names(root)


def test_free_bytes_are_those_of_the_file_system(root: Path, sink: LocalSink) -> None:
    """The room told is what the target's file system has for this user."""
    room = os.statvfs(root)
    assert abs(sink.free_bytes() - room.f_bavail * room.f_frsize) < 1 << 30


# -- hostile names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("../../etc/passwd", "..", ".", "/abs", "a//b", "a/./b", "a/../../b", "a/..", "", "/", "a//", "nul\0byte"),
        *("x" * 256, "é" * 128, "a/" + "x" * 300 + "/b"),
    ],
)
def test_hostile_name_is_refused(sink: LocalSink, name: str) -> None:
    """A name that leads out of the folder, or that no file can have, is refused before anything is written."""
    with pytest.raises(SinkError):
        sink.check_name(name)


@pytest.mark.parametrize("name", ["a", "a/b", "folder/", "...", "..a", " ", "-", "x" * 255, "é" * 127, "a\\b", "a\nb"])
def test_odd_name_is_taken(root: Path, sink: LocalSink, name: str) -> None:
    """A name that is merely odd is taken as it is."""
    sink.check_name(name)
    store(sink, name, b"")
    assert outcome(sink) == {name: None}
    assert os.path.lexists(root / name)


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "..", "./a"])
def test_hostile_name_that_nobody_checked_leads_nowhere(root: Path, sink: LocalSink, name: str) -> None:
    """Even when `check_name` was not asked, nothing appears outside of the target folder."""
    outside = root.parent
    before = {path.name for path in outside.iterdir()}
    with pytest.raises(SinkError):
        sink.receive_small(TargetObject("k", 1, name), 0, memoryview(b"1"))
    store(sink, name, b"")
    store(sink, name + "/", b"")
    assert {type(error) for error in outcome(sink).values()} == {SinkError}
    assert {path.name for path in outside.iterdir()} == before


def test_key_of_hundreds_of_folders(root: Path, sink: LocalSink) -> None:
    """A key of 500 parts is restored, with no more descriptors than folders that are kept."""
    before = descriptors()
    name = "/".join("d" for _ in range(500)) + "/file"
    store(sink, name, b"deep")
    assert outcome(sink) == {name: None}
    assert sink.read_existing(name, 0, 4) == b"deep"
    assert descriptors() - before < 140


def test_link_in_place_of_a_folder_is_not_followed(tmp_path: Path, root: Path, sink: LocalSink) -> None:
    """A link below the target leads nothing out of it, whether it stands for the folder or for the file."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"theirs")
    (root / "folder").symlink_to(outside)
    (root / "link").symlink_to(outside / "new")
    with pytest.raises(SinkError, match="folder should be a folder"):
        sink.receive_small(TargetObject("k", 1, "folder/file"), 0, memoryview(b"1"))
    store(sink, "link", b"1")
    store(sink, "folder/", b"")
    result = outcome(sink)
    assert isinstance(result["link"], SinkError)
    assert isinstance(result["folder/"], SinkError)
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_bytes() == b"theirs"


def test_link_swapped_in_for_a_folder_in_use(tmp_path: Path, root: Path, sink: LocalSink) -> None:
    """A folder replaced by a link between an object's first blob and its end leads nothing out of the target."""
    outside = tmp_path / "outside"
    outside.mkdir()
    item = TargetObject("k", 2, "folder/file")
    sink.receive_small(item, 0, memoryview(b"1"))
    (root / "folder").rename(root / "moved")
    (root / "folder").symlink_to(outside)
    sink.receive_small(item, 1, memoryview(b"2"))
    sink.finish(item)
    outcome(sink)
    assert list(outside.iterdir()) == []


def test_root_may_be_a_link_that_the_user_chose(tmp_path: Path) -> None:
    """Only what is below the target is held to links; the target itself may be one."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    sink = LocalSink(str(tmp_path / "link"))
    try:
        store(sink, "a", b"1")
        assert outcome(sink) == {"a": None}
    finally:
        sink.close()
    assert (tmp_path / "real/a").read_bytes() == b"1"


def test_target_that_is_a_file(tmp_path: Path) -> None:
    """A file cannot be the target folder, and the error names it."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SinkError, match="file"):
        LocalSink(str(tmp_path / "file"))


# -- trouble ----------------------------------------------------------------------------------------------------------


def _reopened(sink: LocalSink, item: TargetObject) -> None:
    """Have the sink close the object's file, as it does when many are being written."""
    for number in range(70):
        sink.receive_small(TargetObject("k", 2, f"other {number}"), 0, memoryview(b"1"))
    assert sink._parts[item.name].descriptor == -1


def test_temporary_file_that_vanished_is_not_made_again_with_holes(root: Path, sink: LocalSink) -> None:
    """When a half-stored object's file is removed under us, the object fails; it never appears with zeros."""
    item = TargetObject("k", 8, "file")
    sink.receive_small(item, 0, memoryview(b"abcd"))
    _reopened(sink, item)
    (root / sink._parts["file"].temporary).unlink()
    with pytest.raises(SinkError, match="file cannot be written"):
        sink.receive_small(item, 4, memoryview(b"efgh"))
    sink.finish(item)
    assert isinstance(outcome(sink)["file"], SinkError)
    assert not (root / "file").exists()


def test_temporary_file_that_was_replaced_is_not_written_to(root: Path, sink: LocalSink) -> None:
    """When another file takes the place of a half-stored object's, it is not filled up and does not appear."""
    item = TargetObject("k", 8, "file")
    sink.receive_small(item, 0, memoryview(b"abcd"))
    _reopened(sink, item)
    temporary = root / sink._parts["file"].temporary
    (root / "new").write_bytes(b"somebody")
    (root / "new").rename(temporary)
    with pytest.raises(SinkError, match="replaced"):
        sink.receive_small(item, 4, memoryview(b"efgh"))
    assert temporary.read_bytes() == b"somebody"


def test_temporary_file_replaced_before_the_end_does_not_appear(root: Path, sink: LocalSink) -> None:
    """When another file takes the place of a whole object's before it has its name, the name does not appear."""
    item = TargetObject("k", 4, "file")
    sink.receive_small(item, 0, memoryview(b"abcd"))
    (root / "new").write_bytes(b"evil")
    (root / "new").rename(root / sink._parts["file"].temporary)
    sink.finish(item)
    assert isinstance(outcome(sink)["file"], SinkError)
    assert not (root / "file").exists()


def test_target_removed_under_us_fails_by_name(root: Path, sink: LocalSink) -> None:
    """When somebody removes the target's folders during a get, the objects fail by name, and nothing hangs."""
    item = TargetObject("k", 4, "folder/file")
    sink.receive_small(item, 0, memoryview(b"abcd"))
    for path in leftovers(root):
        path.unlink()
    (root / "folder").rmdir()
    root.rmdir()
    sink.finish(item)
    store(sink, "other/", b"")
    result = outcome(sink)
    assert isinstance(result["folder/file"], SinkError)
    assert isinstance(result["other/"], SinkError)


def test_full_disk_fails_by_name_and_leaves_nothing(root: Path) -> None:
    """A file that the disk has no room for is a SinkError naming it, before and after other objects went well."""
    script = """
        import resource, sys
        from ds3tool.errors import SinkError
        from ds3tool.jobs.ends import TargetObject
        from ds3tool.sinks.local import LocalSink

        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        sink = LocalSink(sys.argv[1])
        for name, size in (("small", 10), ("large", 200_000), ("small too", 10)):
            item = TargetObject(name, size, name)
            try:
                sink.receive_small(item, 0, memoryview(bytes(size)))
            except SinkError as error:
                print(error.message, flush=True)
                sink.abandon(item)
            else:
                sink.finish(item)
        print(sorted((item.name, error) for item, error in sink.settle(wait=True)), flush=True)
        sink.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(root)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "large cannot be written: File too large",
        "[('small', None), ('small too', None)]",
    ]
    assert names(root) == {"small", "small too"}
    assert leftovers(root) == []


def test_disk_that_fails_while_bytes_are_made_safe(
    root: Path, sink: LocalSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object whose fsync fails does not appear, is told as failed, and leaves no file; others do appear."""
    real = durability.sync_all

    def sync(found: list[int]) -> list[OSError | None]:
        errors = real(found)
        for index, number in enumerate(found):
            if os.fstat(number).st_size == 3:
                errors[index] = OSError(5, "Input/output error")
        return errors

    monkeypatch.setattr(publishing, "sync_all", sync)
    store(sink, "good", b"good")
    store(sink, "bad", b"bad")
    result = outcome(sink)
    assert result["good"] is None
    assert isinstance(result["bad"], SinkError)
    assert "Input/output error" in result["bad"].message
    assert names(root) == {"good"}
    assert leftovers(root) == []


def test_unforeseen_failure_at_the_end_is_told_and_nobody_waits_for_ever(
    sink: LocalSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When making a group safe fails in an unforeseen way, each object of it fails; later groups are served."""
    before = descriptors()

    def broken(found: list[int]) -> list[OSError | None]:
        raise RuntimeError("no libc here")

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "sync_all", broken)
        store(sink, "a", b"1")
        store(sink, "b", b"2")
        result = outcome(sink)
    assert {name: type(error) for name, error in result.items()} == {"a": SinkError, "b": SinkError}
    assert descriptors() == before
    store(sink, "c", b"3")
    assert outcome(sink) == {"c": None}


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_many_files_written_at_once_hold_a_bounded_number_of_descriptors(root: Path, sink: LocalSink) -> None:
    """400 objects whose blobs come in turns in 200 folders hold at most 64 files and 128 folders open."""
    before = descriptors()
    items = [TargetObject("k", 6, f"{number % 200}/file {number}") for number in range(400)]
    most = 0
    for piece, offset in ((b"aa", 0), (b"cc", 4), (b"bb", 2)):
        for item in items:
            sink.receive_small(item, offset, memoryview(piece))
            most = max(most, descriptors() - before)
    assert most <= 64 + 128 + 4
    for item in items:
        sink.finish(item)
    assert set(outcome(sink).values()) == {None}
    assert {(root / item.name).read_bytes() for item in items} == {b"aabbcc"}
    assert descriptors() - before <= 128


def test_more_than_a_thousand_waiting_to_be_safe_hold_the_writers_back(
    root: Path, sink: LocalSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk takes its time, writers wait at some 512 finished objects instead of using up all descriptors."""
    before = descriptors()
    disk = threading.Event()
    real = durability.sync_all

    def slow(found: list[int]) -> list[OSError | None]:
        disk.wait()
        return real(found)

    monkeypatch.setattr(publishing, "sync_all", slow)
    finished = threading.Semaphore(0)

    def work() -> None:
        for number in range(1100):
            store(sink, f"{number}", b"1")
            finished.release()

    worker = threading.Thread(target=work)
    worker.start()
    for _ in range(511):
        assert finished.acquire(timeout=60)
    assert not finished.acquire(timeout=0.2)
    assert 500 <= descriptors() - before <= 512 + 8
    disk.set()
    worker.join()
    result = outcome(sink)
    assert len(result) == 1100
    assert set(result.values()) == {None}
    assert len(names(root)) == 1100


# -- order of what is made safe ---------------------------------------------------------------------------------------


class RecordingOs:
    """The `os` module, which writes down what makes names and what makes them safe."""

    def __init__(self, events: list[str], root: Path) -> None:
        self._events = events
        self._root = root

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def _path(self, descriptor: int) -> str:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        return "part" if path.name.startswith(".ds3tool-") else str(path.relative_to(self._root.parent))

    def fsync(self, descriptor: int) -> None:
        self._events.append(f"fsync {self._path(descriptor)}")
        os.fsync(descriptor)

    def rename_if_free(self, temporary: str, name: str, folder: int) -> bool:
        self._events.append(f"name {self._path(folder)}/{name}")
        return rename_if_free(temporary, name, folder)

    def mkdir(self, name: str, *, dir_fd: int | None = None) -> None:
        os.mkdir(name, dir_fd=dir_fd)
        above = self._path(dir_fd) + "/" if dir_fd is not None else ""
        self._events.append(f"make {above}{os.path.basename(name)}")


@pytest.fixture
def events(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    recording = RecordingOs(found, root)
    for module in (durability, folders):
        monkeypatch.setattr(module, "os", recording)
    monkeypatch.setattr(durability, "rename_if_free", recording.rename_if_free)
    return found


def test_bytes_are_safe_before_the_name_and_the_name_before_it_is_told(root: Path, events: list[str]) -> None:
    """The file's fsync comes before its name, its folder's after, and both before `settle` tells of it."""
    sink = LocalSink(str(root))
    try:
        store(sink, "file", b"1")
        assert outcome(sink) == {"file": None}
        assert events == ["make restored", "fsync .", "fsync part", "name restored/file", "fsync restored"]
    finally:
        sink.close()


def test_new_folders_are_safe_in_their_parents(root: Path, events: list[str]) -> None:
    """Each folder that was made is made safe in the one above it, before an object in it is told."""
    sink = LocalSink(str(root))
    try:
        events.clear()
        store(sink, "a/b/file", b"1")
        store(sink, "c/", b"")
        assert outcome(sink) == {"a/b/file": None, "c/": None}
        named = events.index("name restored/a/b/file")
        after = set(events[named:])
        assert {"fsync restored/a/b", "fsync restored/a", "fsync restored"} <= after
        assert events.index("fsync part") < named
    finally:
        sink.close()


def test_large_group_is_made_safe_file_by_file_all_the_same(root: Path, events: list[str]) -> None:
    """In a group that goes out in one syncfs, each file's own fsync still comes before its name."""
    sink = LocalSink(str(root))
    try:
        events.clear()
        for number in range(40):
            store(sink, f"{number}", b"1")
        assert set(outcome(sink).values()) == {None}
        safe = 0
        for event in events:
            safe += event == "fsync part"
            if event.startswith("name"):
                safe -= 1
                assert safe >= 0
        assert sum(event.startswith("name") for event in events) == 40
        assert events[-1] == "fsync restored"
    finally:
        sink.close()


def test_folder_that_cannot_be_made_safe_is_told(root: Path, sink: LocalSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object whose folder's fsync fails is told as failed: after a power cut it might not be there."""

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(publishing, "sync_folder", broken)
    store(sink, "file", b"1")
    assert isinstance(outcome(sink)["file"], SinkError)


def test_folder_above_that_cannot_be_made_safe_is_told(
    root: Path, sink: LocalSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the name of a new folder cannot be made safe, the objects in that folder are told as failed."""
    real = durability.sync_folder

    def broken(descriptor: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")) == root:
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(publishing, "sync_folder", broken)
    store(sink, "new/file", b"1")
    assert isinstance(outcome(sink)["new/file"], SinkError)
