"""With `preserve`, files, folders and links get the attributes that were stored with them, as far as one may."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ds3tool.errors import SinkError
from ds3tool.jobs.ends import TargetObject
from ds3tool.protocol.attributes import FileAttributes
from ds3tool.protocol.ranges import ByteRange
from ds3tool.sinks.local import LocalSink

MODIFIED_NS = 1_234_567_890_123_456_789
ACCESSED_NS = 1_300_000_000_000_000_007
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


def attributes(**named: object) -> Mapping[str, str]:
    return FileAttributes(**named).to_metadata()  # type: ignore[arg-type]  # the fields of FileAttributes


def store(sink: LocalSink, name: str, data: bytes, metadata: Mapping[str, str], **named: object) -> TargetObject:
    """Store an object that is described before its first byte."""
    item = TargetObject(f"key of {name}", len(data), name, **named)  # type: ignore[arg-type]  # fields of it
    sink.describe(item, metadata)
    if data:
        sink.receive_small(item, 0, memoryview(data))
    sink.finish(item)
    return item


def settled(sink: LocalSink) -> None:
    assert [error for _, error in sink.settle(wait=True) if error] == []


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "restored"


@pytest.fixture
def sink(root: Path) -> Iterator[LocalSink]:
    sink = LocalSink(str(root), preserve=True)
    yield sink
    sink.close()


def takes_xattrs(folder: Path) -> bool:
    probe = folder / "probe"
    probe.write_bytes(b"")
    try:
        os.setxattr(probe, "user.probe", b"1")
    except OSError:
        return False
    return True


def test_times_and_mode_of_a_file(root: Path, sink: LocalSink) -> None:
    """A file has its times to the nanosecond and its permissions, and nobody else reads it before it has them."""
    item = TargetObject("k", 4, "a/file")
    sink.describe(item, attributes(modified_ns=MODIFIED_NS, accessed_ns=ACCESSED_NS, mode=stat.S_IFREG | 0o640))
    sink.receive_small(item, 0, memoryview(b"data"))
    [part] = (root / "a").iterdir()
    assert stat.S_IMODE(part.stat().st_mode) == 0o600
    sink.finish(item)
    settled(sink)
    state = (root / "a/file").stat()
    assert (state.st_mtime_ns, state.st_atime_ns) == (MODIFIED_NS, ACCESSED_NS)
    assert state.st_mode == stat.S_IFREG | 0o640
    assert (root / "a/file").read_bytes() == b"data"
    assert sink.notes == []


@pytest.mark.parametrize("mode", [0o000, 0o200, 0o444, 0o777])
def test_any_mode_lets_the_bytes_be_right(root: Path, sink: LocalSink, mode: int) -> None:
    """A file that its owner may not write or read is restored whole all the same."""
    store(sink, "file", b"data", attributes(mode=stat.S_IFREG | mode, xattrs={"user.note": b"x"}))
    settled(sink)
    assert stat.S_IMODE((root / "file").stat().st_mode) == mode
    (root / "file").chmod(0o600)
    assert (root / "file").read_bytes() == b"data"


def test_the_type_in_the_mode_makes_nothing_but_a_file(root: Path, sink: LocalSink) -> None:
    """Metadata that speak of a device or a FIFO make a regular file with the object's bytes."""
    for number, kind in enumerate((stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFDIR, stat.S_IFLNK)):
        store(sink, f"{number}", b"data", attributes(mode=kind | 0o600))
    settled(sink)
    for number in range(5):
        assert (root / f"{number}").lstat().st_mode == stat.S_IFREG | 0o600


def test_times_before_1970(root: Path, sink: LocalSink) -> None:
    """Times before 1970 are made again where the file system can; elsewhere the notes say so."""
    store(sink, "file", b"1", attributes(modified_ns=-1_500_000_001))
    settled(sink)
    assert (root / "file").stat().st_mtime_ns == -1_500_000_001 or sink.notes


def test_extended_attributes(root: Path, sink: LocalSink) -> None:
    """Extended attributes of users come back with any bytes in them, also on a file that may not be written."""
    root.mkdir(exist_ok=True)
    if not takes_xattrs(root):
        pytest.skip("this file system has no extended attributes")
    wanted = {"user.colour": b"\x00\xff red", "user.empty": b""}
    store(sink, "file", b"1", attributes(xattrs=wanted, mode=stat.S_IFREG | 0o400))
    settled(sink)
    assert {name: os.getxattr(root / "file", name) for name in os.listxattr(root / "file")} == wanted
    assert sink.notes == []


def test_what_is_refused_is_noted_once_with_its_count(root: Path, sink: LocalSink) -> None:
    """Attributes that the system refuses are no failure: one note for their kind names the count and the first."""
    for name in ("a", "b", "c"):
        store(sink, name, name.encode(), attributes(xattrs={"nonsense": b"1"}))
    settled(sink)
    assert {name: (root / name).read_bytes() for name in ("a", "b", "c")} == {"a": b"a", "b": b"b", "c": b"c"}
    [note] = sink.notes
    assert note.startswith("extended attributes not made again: 3 objects, the first a (nonsense: ")


def test_without_preserve_nothing_is_made_again(root: Path) -> None:
    """Without `preserve`, a file has the time of now and the mode that any new file has."""
    sink = LocalSink(str(root))
    store(sink, "file", b"1", attributes(modified_ns=MODIFIED_NS, mode=stat.S_IFREG | 0o751, xattrs={"user.a": b"1"}))
    settled(sink)
    sink.close()
    (root / "plain").write_bytes(b"")
    state = (root / "file").stat()
    assert state.st_mode == (root / "plain").stat().st_mode
    assert state.st_mtime_ns > MODIFIED_NS + 10**18 / 10
    assert os.listxattr(root / "file") == []


def test_part_of_a_file_gets_no_attributes(root: Path, sink: LocalSink) -> None:
    """Ranges of an object are not the file it was: they become a plain file, and no link either."""
    store(
        sink,
        "file",
        b"../x",
        attributes(modified_ns=MODIFIED_NS, link=True, mode=stat.S_IFLNK | 0o777),
        ranges=(ByteRange(3, 7),),
    )
    settled(sink)
    state = (root / "file").lstat()
    assert stat.S_ISREG(state.st_mode)
    assert state.st_mtime_ns != MODIFIED_NS


def test_malformed_metadata_are_no_failure(root: Path, sink: LocalSink) -> None:
    """Metadata that nobody can read leave the file as any other."""
    store(sink, "file", b"1", {"ds3-mode": "rwx", "ds3-last-modified-time": "yesterday", "ds3tool-xattrs": "?"})
    settled(sink)
    assert (root / "file").read_bytes() == b"1"


def test_folder_gets_its_attributes_after_what_is_in_it(root: Path, sink: LocalSink) -> None:
    """A folder's time and mode are set when its files have appeared, whatever the order in which they ended."""
    metadata = attributes(modified_ns=MODIFIED_NS, mode=stat.S_IFDIR | 0o750)
    store(sink, "outer/", b"", metadata)
    store(sink, "outer/inner/", b"", metadata)
    store(sink, "outer/inner/file", b"1", attributes(modified_ns=MODIFIED_NS + 1))
    settled(sink)
    for folder in ("outer", "outer/inner"):
        state = (root / folder).stat()
        assert (state.st_mtime_ns, state.st_mode) == (MODIFIED_NS, stat.S_IFDIR | 0o750)
    assert (root / "outer/inner/file").stat().st_mtime_ns == MODIFIED_NS + 1


def test_folder_that_fails_gets_no_note(root: Path, sink: LocalSink) -> None:
    """Attributes of a folder that could not be made are not told as a second trouble."""
    root.mkdir(exist_ok=True)
    (root / "taken").write_bytes(b"")
    store(sink, "taken/", b"", attributes(modified_ns=MODIFIED_NS))
    [(_, error)] = sink.settle(wait=True)
    assert isinstance(error, SinkError)
    assert sink.notes == []


def test_object_described_and_abandoned_leaves_nothing(root: Path, sink: LocalSink) -> None:
    """An object of which only the metadata came leaves neither a file nor what was said of it."""
    item = TargetObject("k", 4, "file")
    sink.describe(item, attributes(mode=stat.S_IFREG | 0o600))
    sink.abandon(item)
    store(sink, "file", b"new!", {})
    settled(sink)
    assert (root / "file").stat().st_mode & 0o777 != 0o600
    assert [path.name for path in root.iterdir()] == ["file"]


@as_root
def test_owner_by_name_before_number(root: Path, sink: LocalSink) -> None:
    """Root gives a file to the owner of the stored name, by number where nobody here has that name."""
    import grp
    import pwd

    user, group = pwd.getpwuid(1), grp.getgrgid(1)
    store(sink, "by name", b"1", attributes(uid=4242, gid=4243, owner=user.pw_name, group=group.gr_name))
    store(sink, "by number", b"1", attributes(uid=4242, gid=4243, owner="nobody-has-this", group="nor-this"))
    store(sink, "set-id", b"1", attributes(uid=4242, gid=4243, mode=stat.S_IFREG | 0o6755))
    store(sink, "folder/", b"", attributes(uid=4242, gid=4243))
    settled(sink)
    owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in root.iterdir()}
    assert owners == {
        "by name": (1, 1),
        "by number": (4242, 4243),
        "set-id": (4242, 4243),
        "folder": (4242, 4243),
    }
    assert stat.S_IMODE((root / "set-id").stat().st_mode) == 0o6755
    assert sink.notes == []


def test_bits_that_lend_rights_need_their_owner(root: Path, sink: LocalSink) -> None:
    """A set-user-id bit whose owner nobody told is left out and noted: it would lend the restorer's rights."""
    store(sink, "file", b"1", attributes(mode=stat.S_IFREG | 0o6755))
    settled(sink)
    assert stat.S_IMODE((root / "file").stat().st_mode) == 0o755
    assert ["set-user-id" in note for note in sink.notes] == [True]


@as_root
def test_somebody_who_is_not_root_keeps_what_he_restores(project: Path) -> None:
    """Without root's rights, files stay with whoever restores them, without set-user-id bits, and it is noted."""
    script = """
        import os, sys
        from ds3tool.jobs.ends import TargetObject
        from ds3tool.protocol.attributes import FileAttributes
        from ds3tool.sinks.local import LocalSink

        os.setgid(65534)
        os.setuid(65534)
        sink = LocalSink(sys.argv[1], preserve=True)
        for name, uid in (("theirs", 4242), ("ours", 65534)):
            item = TargetObject(name, 1, name)
            sink.describe(item, FileAttributes(mode=0o104755, uid=uid, gid=65534, modified_ns=5).to_metadata())
            sink.receive_small(item, 0, memoryview(b"1"))
            sink.finish(item)
        print([error for _, error in sink.settle(wait=True)])
        for name in ("theirs", "ours"):
            state = os.stat(sys.argv[1] + "/" + name)
            print(oct(state.st_mode), state.st_uid, state.st_mtime_ns)
        print(*sink.notes, sep="; ")
        sink.close()
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), f"{folder}/restored"],
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(project)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout.splitlines() == [
        "[None, None]",
        "0o100755 65534 5",
        "0o104755 65534 5",
        (
            "owner or group not made again: theirs (only root may give files away); "
            "set-user-id, set-group-id or sticky bit not made again, since the owner is another: theirs"
        ),
    ], done.stderr


def test_attributes_are_on_the_file_before_it_has_its_name(root: Path, sink: LocalSink) -> None:
    """A file that is seen under its name has its mode and time already: both are set on the temporary file."""
    seen: list[tuple[int, int]] = []
    publisher = sink._publisher
    give = publisher._give_name

    def watched(item: TargetObject, temporary: str, last: str, parent: int) -> None:
        state = os.stat(temporary, dir_fd=parent)
        seen.append((state.st_mtime_ns, stat.S_IMODE(state.st_mode)))
        give(item, temporary, last, parent)

    publisher._give_name = watched  # type: ignore[method-assign]  # to look at the step between
    store(sink, "file", b"1", attributes(modified_ns=MODIFIED_NS, mode=stat.S_IFREG | 0o604))
    settled(sink)
    assert seen == [(MODIFIED_NS, 0o604)]
