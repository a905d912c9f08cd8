"""Streams as sources: bytes that come once, and those that are kept first."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import pytest

from ds3tool.errors import InterruptedRunError, SourceError
from ds3tool.jobs.ends import Source
from ds3tool.jobs.waiting import WaitingEnd
from ds3tool.sources.stream import SpooledSource, StreamSource

Feed = Callable[[bytes], BinaryIO]


@pytest.fixture(params=["memory", "pipe"])
def feed(request: pytest.FixtureRequest) -> Iterator[Feed]:
    """Give a function that makes a stream of some bytes: one in memory, or the reading end of a pipe."""
    opened: list[BinaryIO] = []
    writers: list[threading.Thread] = []

    def make(data: bytes) -> BinaryIO:
        if request.param == "memory":
            return io.BytesIO(data)
        reading, writing = os.pipe()

        def write() -> None:
            with open(writing, "wb") as end:
                try:
                    end.write(data)
                except BrokenPipeError:
                    end.detach()
                    os.close(writing)

        writers.append(threading.Thread(target=write))
        writers[-1].start()
        opened.append(open(reading, "rb"))  # noqa: SIM115  # closed below
        return opened[-1]

    yield make
    for one in opened:
        one.close()
    for writer in writers:
        writer.join()


def test_a_stream_gives_its_bytes_once_and_in_order(feed: Feed) -> None:
    """Reads follow each other; any other place, and a second opening, is a SourceError."""
    source: Source = StreamSource(feed(b"abcdefgh"), key="k", size=8)
    (item,) = source.objects()
    assert (item.key, item.size, source.sequential) == ("k", 8, True)
    opened = source.open(item)
    assert opened.read(0, 3) == b"abc"
    with pytest.raises(SourceError, match="when 3 bytes have passed"):
        opened.read(0, 3)
    assert opened.read(3, 5) == b"defgh"
    opened.check_unchanged()
    with pytest.raises(SourceError, match="second time"):
        source.open(item)


def test_a_stream_that_ends_early_says_where(feed: Feed) -> None:
    """Bytes that were announced and do not come are a SourceError with both numbers."""
    source = StreamSource(feed(b"abc"), key="k", size=8)
    opened = source.open(next(source.objects()))
    with pytest.raises(SourceError, match="after 3 bytes, and 8 were announced"):
        opened.read(0, 8)


def test_a_stream_that_goes_on_is_found_out(feed: Feed) -> None:
    """A byte more than was announced is a SourceError; before the end nobody looks for it."""
    source = StreamSource(feed(b"abcd"), key="k", size=3)
    opened = source.open(next(source.objects()))
    opened.check_unchanged()
    assert opened.read(0, 3) == b"abc"
    with pytest.raises(SourceError, match="more than the 3 bytes"):
        opened.check_unchanged()


def test_a_reader_that_waits_gives_up_when_it_is_told_to() -> None:
    """A pipe whose writer says nothing does not hold its reader for ever."""
    reading, writing = os.pipe()
    with open(reading, "rb") as stream, open(writing, "wb"):
        source = StreamSource(stream, key="k", size=3)
        assert isinstance(source, WaitingEnd)
        stopped = threading.Event()
        asked: list[bool] = []

        def given_up() -> bool:
            asked.append(stopped.is_set())
            stopped.set()
            return asked[-1]

        source.give_up_when(given_up)
        with pytest.raises(InterruptedRunError):
            source.open(next(source.objects())).read(0, 3)
        assert asked == [False, True]


@pytest.mark.parametrize("size", [0, 1, (1 << 20) + 1, 3 << 20])
def test_a_kept_stream_can_be_read_anywhere_and_again(feed: Feed, size: int) -> None:
    """Its size is known, and any range of it gives the stream's bytes."""
    data = os.urandom(size)
    with closing(SpooledSource(feed(data), key="k", limit=4 << 20)) as source:
        (item,) = source.objects()
        assert (item.size, source.sequential) == (size, False)
        opened = source.open(item)
        assert opened.read(0, size) == data
        assert opened.read(size // 2, size - size // 2) == data[size // 2 :]
        opened.check_unchanged()


def test_a_stream_of_just_the_limit_is_kept_and_one_byte_more_is_not(feed: Feed) -> None:
    """The limit is what may be kept, to the byte."""
    with closing(SpooledSource(feed(b"x" * 1000), key="k", limit=1000)) as source:
        assert next(source.objects()).size == 1000
    with pytest.raises(SourceError, match="more than 1000 B") as refused:
        SpooledSource(feed(b"x" * 1001), key="k", limit=1000)
    assert "--size" in (refused.value.hint or "")


def test_nothing_is_kept_where_room_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that others need as well is not filled to the brim: an error, and no file."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: _Usage(64 << 20))
    with pytest.raises(SourceError, match="has no room for the stream"):
        SpooledSource(io.BytesIO(b"data"), key="k", limit=1000, folder=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_a_folder_that_takes_no_file_is_told(tmp_path: Path) -> None:
    """The folder is named, and what else can be done."""
    with pytest.raises(SourceError, match=r"cannot be kept in .*nowhere"):
        SpooledSource(io.BytesIO(b"data"), key="k", limit=1000, folder=str(tmp_path / "nowhere"))


def test_the_system_s_folder_is_taken_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """TMPDIR says where streams are kept, and the file has no name there."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with closing(SpooledSource(io.BytesIO(b"data"), key="k", limit=1000)) as source:
        assert source.open(next(source.objects())).read(0, 4) == b"data"
        assert list(tmp_path.iterdir()) == []
