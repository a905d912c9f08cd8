"""What a run leaves unfinished is found by a later one of the same work, and by no other, and at the end it is gone."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ds3tool.errors import SinkError, UsageError
from ds3tool.jobs.ends import TargetObject
from ds3tool.protocol.attributes import FileAttributes
from ds3tool.protocol.ranges import ByteRange
from ds3tool.sinks.leftovers import link_name, part_name, sweep
from ds3tool.sinks.local import LocalSink

TOKEN = "20261122-061208-0a1b2c3d"
ITEM = TargetObject("key", 8, "folder/file")
Start = Callable[..., LocalSink]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "restored"


@pytest.fixture
def start(root: Path) -> Iterator[Start]:
    """Give a function that makes a sink of the same work each time it is called."""
    made: list[LocalSink] = []

    def start(token: str = TOKEN, **named: object) -> LocalSink:
        made.append(LocalSink(str(root), token=token, **named))  # type: ignore[arg-type]  # preserve, links
        return made[-1]

    yield start
    for sink in made:
        sink.close()


def leave_half(sink: LocalSink, item: TargetObject = ITEM) -> None:
    """Store the first half of an object, and end as a run does that is interrupted."""
    sink.receive_small(item, 0, memoryview(b"half"))
    sink.keep_unfinished()
    sink.close()


def finish(sink: LocalSink, item: TargetObject = ITEM) -> None:
    sink.finish(item)
    assert sink.settle(wait=True) == [(item, None)]


def everything(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def part_of(root: Path, item: TargetObject = ITEM, *, token: str = TOKEN) -> Path:
    return (root / item.name).parent / part_name(token, item)


def test_the_next_run_goes_on_with_what_was_kept(root: Path, start: Start) -> None:
    """Half an object that was kept is there for the same work, which stores the other half; then only the name is."""
    leave_half(start())
    assert everything(root) == {"folder", f"folder/{part_name(TOKEN, ITEM)}"}
    sink = start()
    assert sink.room_taken(ITEM) is not None
    assert sink.read_unfinished(ITEM, 0, 4) == b"half"
    sink.receive_small(ITEM, 4, memoryview(b"rest"))
    finish(sink)
    assert (root / ITEM.name).read_bytes() == b"halfrest"
    assert everything(root) == {"folder", "folder/file"}


def test_without_a_word_nothing_is_kept(root: Path, start: Start) -> None:
    """`close` alone removes what is unfinished, a token or not."""
    sink = start()
    sink.receive_small(ITEM, 0, memoryview(b"half"))
    sink.close()
    assert everything(root) == {"folder"}


def test_what_a_killed_process_left_is_found(root: Path, start: Start) -> None:
    """After kill -9 the bytes that were stored are there for the next run."""
    script = """
        import sys
        from ds3tool.jobs.ends import TargetObject
        from ds3tool.sinks.local import LocalSink

        sink = LocalSink(sys.argv[1], token=sys.argv[2])
        sink.receive_small(TargetObject("key", 8, "folder/file"), 0, memoryview(b"half"))
        print("ready", flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(root), TOKEN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    assert start().read_unfinished(ITEM, 0, 4) == b"half"


@pytest.mark.parametrize(
    "other",
    [
        TargetObject("key", 8, "folder/other"),
        TargetObject("another key", 8, "folder/file"),
        TargetObject("key", 8, "folder/file", version_id="v"),
        TargetObject("key", 8, "folder/file", ranges=(ByteRange(0, 8),)),
        TargetObject("key", 9, "folder/file"),
    ],
)
def test_only_the_same_object_finds_it(start: Start, other: TargetObject) -> None:
    """Another name, key, version, range or size is another file's business."""
    leave_half(start())
    assert start().room_taken(other) is None


def test_another_work_neither_finds_nor_sweeps_it(root: Path, start: Start) -> None:
    """What one work has left stays when another one runs, and ends, in the same folder."""
    leave_half(start())
    other = start(token="another")
    assert other.room_taken(ITEM) is None
    other.receive_small(ITEM, 0, memoryview(b"whole it"))
    finish(other)
    assert other.sweep([ITEM.name]) == 0
    assert part_of(root).read_bytes()[:4] == b"half"


def _as_another_size(path: Path) -> None:
    path.write_bytes(b"short")


def _as_a_second_name(path: Path) -> None:
    path.with_name("visible").write_bytes(b"visible!")
    os.link(path.with_name("visible"), path)


def _as_a_link(path: Path) -> None:
    path.with_name("visible").write_bytes(b"visible!")
    path.symlink_to("visible")


@pytest.mark.parametrize("make", [_as_another_size, _as_a_second_name, _as_a_link])
def test_what_cannot_be_gone_on_with_makes_room(root: Path, start: Start, make: Callable[[Path], None]) -> None:
    """A file of another size, of a second name, or a link is not written into; a new one stands in its place."""
    (root / "folder").mkdir(parents=True)
    make(part_of(root))
    sink = start()
    assert sink.room_taken(ITEM) is None
    sink.receive_small(ITEM, 0, memoryview(b"all new!"))
    finish(sink)
    assert (root / ITEM.name).read_bytes() == b"all new!"
    visible = root / "folder" / "visible"
    assert not visible.exists() or visible.read_bytes() == b"visible!"
    assert not os.path.lexists(part_of(root))


def _as_a_folder(path: Path) -> None:
    path.mkdir()


def _as_a_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [_as_a_folder, _as_a_pipe])
def test_what_is_none_of_ours_stays_and_another_name_is_taken(
    root: Path, start: Start, make: Callable[[Path], None]
) -> None:
    """A folder or a pipe of that name is left alone; the run after finds the other name all the same."""
    (root / "folder").mkdir(parents=True)
    make(part_of(root))
    leave_half(start())
    sink = start()
    assert sink.read_unfinished(ITEM, 0, 4) == b"half"
    sink.receive_small(ITEM, 4, memoryview(b"rest"))
    finish(sink)
    assert (root / ITEM.name).read_bytes() == b"halfrest"
    assert sink.sweep([ITEM.name]) == 0
    assert everything(root) == {"folder", "folder/file", f"folder/{part_name(TOKEN, ITEM)}"}


def test_a_file_that_had_its_last_mode_already_is_found() -> None:
    """One that was killed between its mode (here none at all) and its name is gone on with; somebody else's is not."""
    script = """
        import os, sys
        from ds3tool.jobs.ends import TargetObject
        from ds3tool.sinks.leftovers import part_name
        from ds3tool.sinks.local import LocalSink

        if os.geteuid() == 0:
            theirs = sys.argv[1] + "/" + part_name("t", TargetObject("theirs", 8, "theirs"))
            with open(theirs, "wb") as file:
                file.write(b"somebody")
            os.chmod(theirs, 0o666)
            os.chmod(sys.argv[1], 0o777)
            os.setgroups([])
            os.setegid(65534)
            os.seteuid(65534)
            item = TargetObject("theirs", 8, "theirs")
            sink = LocalSink(sys.argv[1], token="t")
            assert sink.room_taken(item) is None
            sink.receive_small(item, 0, memoryview(b"mine too"))
            sink.finish(item)
            assert sink.settle(wait=True) == [(item, None)]
            assert open(theirs, "rb").read() == b"somebody"
            sink.close()
        item = TargetObject("key", 8, "file")
        path = sys.argv[1] + "/" + part_name("t", item)
        with open(path, "wb") as file:
            file.write(b"halfrest")
        os.chmod(path, 0)
        sink = LocalSink(sys.argv[1], token="t", preserve=True)
        assert sink.room_taken(item) is not None
        assert sink.read_unfinished(item, 0, 8) == b"halfrest"
        sink.finish(item)
        assert sink.settle(wait=True) == [(item, None)]
        sink.close()
        print("well")
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), folder],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "well\n", done.stderr


def test_an_unfinished_file_of_a_private_object_is_closed_to_others(root: Path, start: Start) -> None:
    """One that others may read loses that before more is stored, when the object is to be only its owner's."""
    leave_half(start())
    part_of(root).chmod(0o644)
    sink = start(preserve=True)
    sink.describe(ITEM, FileAttributes(mode=stat.S_IFREG | 0o600).to_metadata())
    sink.receive_small(ITEM, 4, memoryview(b"rest"))
    assert stat.S_IMODE(part_of(root).stat().st_mode) == 0o600


def test_only_what_was_written_may_hold_bytes(start: Start) -> None:
    """A range that nobody wrote is told as empty, on file systems that know; one that somebody wrote never is."""
    item = TargetObject("key", 64 << 20, "file")
    sink = start()
    sink.receive_small(item, 16 << 20, memoryview(bytes([1]) * (1 << 20)))
    assert sink.may_hold(item, 16 << 20, 1 << 20)
    assert sink.may_hold(item, 0, 64 << 20)
    assert not sink.may_hold(item, 32 << 20, 1 << 20)


def test_discarded_is_gone(root: Path, start: Start) -> None:
    """What an earlier run left of an object is removed when it is of no use, whether it was looked at or not."""
    leave_half(start())
    start().discard(ITEM)
    assert everything(root) == {"folder"}
    leave_half(start())
    sink = start()
    assert sink.read_unfinished(ITEM, 0, 4) == b"half"
    sink.discard(ITEM)
    assert everything(root) == {"folder"}
    assert sink.room_taken(ITEM) is None


def test_a_link_left_between_its_two_names_stands_in_nobodys_way(root: Path, start: Start) -> None:
    """A temporary link of a killed run is made anew, and is gone when the link has its name."""
    item = TargetObject("key", 6, "link")
    root.mkdir()
    (root / link_name(part_name(TOKEN, item))).symlink_to("elsewhere")
    sink = start()
    sink.describe(item, FileAttributes(link=True).to_metadata())
    sink.receive_small(item, 0, memoryview(b"target"))
    finish(sink, item)
    assert os.readlink(root / "link") == "target"
    assert everything(root) == {"link"}


@pytest.mark.parametrize("names", [None, ["file", "folder/file", "folder/deep/file", "gone/file"]])
def test_a_sweep_takes_all_of_one_work_and_nothing_else(tmp_path: Path, root: Path, names: list[str] | None) -> None:
    """Files and links of its token go; those of other works, like-named ones, folders and what is linked stay."""
    deep, outside = root / "folder/deep", tmp_path / "outside"
    deep.mkdir(parents=True)
    outside.mkdir()
    ours = []
    for number, folder in enumerate((root, root / "folder", deep)):
        one = folder / part_name(TOKEN, ITEM, number)
        one.write_bytes(b"ours")
        ours.append(one)
    ours.append(root / link_name(part_name(TOKEN, ITEM)))
    ours[-1].symlink_to("file")
    stays = [
        root / part_name("another", ITEM),
        root / part_name(f"{TOKEN}-1", ITEM),
        root / f".ds3tool-{TOKEN}-notes.part",
        root / f"{part_name(TOKEN, ITEM)}~",
        root / f"x{part_name(TOKEN, ITEM)}",
        outside / part_name(TOKEN, ITEM),
    ]
    for one in stays:
        one.write_bytes(b"theirs")
    folder_of_that_name = deep / part_name(TOKEN, TargetObject("k", 1, "another"))
    folder_of_that_name.mkdir()
    (root / "linked").symlink_to(outside)
    assert sweep(str(root), TOKEN, None if names is None else [*names, "linked/file"]) == 4
    assert not [one for one in ours if os.path.lexists(one)]
    assert all(one.read_bytes() == b"theirs" for one in stays)
    assert folder_of_that_name.is_dir()
    assert sweep(str(root), TOKEN, names) == 0


def test_a_sweep_of_a_folder_that_is_gone_finds_nothing(tmp_path: Path) -> None:
    """Nor does it make one."""
    assert sweep(str(tmp_path / "gone"), TOKEN) == 0
    assert not (tmp_path / "gone").exists()


def test_a_token_that_no_name_can_hold_is_refused(tmp_path: Path) -> None:
    """It would lead elsewhere, or match more than it should."""
    for token in ("", "a/b", "..", "a b", "x" * 65):
        with pytest.raises(UsageError):
            LocalSink(str(tmp_path / "root"), token=token)
        with pytest.raises(UsageError):
            sweep(str(tmp_path), token)


def test_reading_what_is_not_there_makes_nothing_of_it(start: Start) -> None:
    """Bytes beyond an unfinished file are a SinkError that names the object."""
    leave_half(start())
    with pytest.raises(SinkError, match="folder/file"):
        start().read_unfinished(ITEM, 4, 100)
